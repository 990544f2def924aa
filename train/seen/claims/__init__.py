"""What a text says about a face, and how that compares with what is true of it."""
