"""Statistics, tables, figures and the report, from result files."""
