"""The command line: d2r COMMAND ..."""
