"""The words by which a sentence claims something about a face, as patterns."""
