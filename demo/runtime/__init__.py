"""What happens behind the page: the model, jobs, sessions, streaming, options."""
