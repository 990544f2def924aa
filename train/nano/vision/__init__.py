"""Nano's vision tower: pretrained, tuned, its views of every face."""
