"""What reports are made of: statistics, tables, plots, pages."""
