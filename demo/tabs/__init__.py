"""The parts of the page: the photo panel and one file a tab."""
