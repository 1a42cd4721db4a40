"""How what the runs say is shown: text, tables, figures and one page."""
