"""What is written to disk: files that appear whole, lines that survive a kill, and whether there is room for them."""
