"""Packed training for trainers of others: the Hugging Face Trainer and those that derive from it."""
