"""The page in a real browser: what a visitor does, in a headless Chromium."""
