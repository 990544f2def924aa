"""How likely the model finds a label: many at once behind one prefix, and with parts of the image hidden."""
