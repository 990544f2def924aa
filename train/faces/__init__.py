"""What is known of a face: labels, measurements, and which tasks they make."""
