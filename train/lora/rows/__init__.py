"""Rows of a training set: read from whatever files hold them, understood in every common form, their images tried."""
