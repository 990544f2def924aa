"""The look of the page: theme, texts, plots. Knows neither models nor sessions."""
