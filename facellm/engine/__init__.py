"""Inference: many questions about one image, for many users, in shared batches."""
