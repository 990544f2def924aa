"""The command line: its arguments, one photo at the terminal, and many photos into a table."""
