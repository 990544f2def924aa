"""Nano's corpus: what its decoder is taught to say."""
