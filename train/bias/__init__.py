"""The figures of groups of people, side by side."""
