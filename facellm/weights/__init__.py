"""Checkpoints: the only room that knows dtypes, devices, quantisation and the hub."""
