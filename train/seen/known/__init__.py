"""What is known of a face from tags, captions, labels and measurements, and what may be said of it."""
