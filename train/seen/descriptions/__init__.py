"""Longer texts about a face: whole descriptions, answers in a form, the eight attributes."""
