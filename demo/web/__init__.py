"""The web server of the page: what a request may be, where uploads lie, how it all ends."""
