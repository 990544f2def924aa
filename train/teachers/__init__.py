"""Teachers: who writes the answers of the data set, and how they are asked."""
