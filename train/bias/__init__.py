"""How a model treats groups of people, side by side."""
