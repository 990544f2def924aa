"""A model measured on labelled faces: multiple choice, profile, free text."""
