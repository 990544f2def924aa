"""The same interface over such a server, or over vLLM."""
