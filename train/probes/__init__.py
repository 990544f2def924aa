"""Probes beside the benchmark: things that are not there (POPE, CHAIR), and what the model knew before it saw faces."""
