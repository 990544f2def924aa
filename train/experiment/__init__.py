"""Experiments: several adapters trained and measured alike, so that what differs between them is one thing."""
