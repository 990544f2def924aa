"""A teacher that needs no model: it writes from labels and measurements."""
