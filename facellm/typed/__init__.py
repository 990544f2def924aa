"""Questions of the user's own with options to choose from, and their calibration; beside the profile, below the API."""
