"""This process as the operating system sees it."""
