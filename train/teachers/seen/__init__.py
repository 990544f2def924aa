"""A teacher that composes answers from what a vision-language model saw."""
