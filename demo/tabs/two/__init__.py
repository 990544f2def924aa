"""Two photos: a second one beside the visitor's first, one question to both, the answers side by side."""
