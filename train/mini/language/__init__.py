"""What mini's decoder is taught to say: conversations about each face, and plain text."""
