"""Mini's vision tower: the table of faces, its tuning, what it reads of a face."""
