"""Why the profile says what it says: a box over the page with a map of the picture's regions for each model."""
