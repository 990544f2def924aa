"""What operators see of the server: health, readiness, numbers for Prometheus, request ids and the log."""
