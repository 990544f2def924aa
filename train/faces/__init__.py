"""What is known of a face: labels, measurements, and what a text claims about it."""
