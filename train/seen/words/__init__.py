"""Words and phrases for one face, chosen once so that everything said of it agrees."""
