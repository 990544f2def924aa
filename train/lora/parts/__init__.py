"""Which parts of a model a run trains: named, made trainable, counted, and written so that everything opens them."""
