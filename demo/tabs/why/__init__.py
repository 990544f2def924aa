"""Why the models say what they say: a box over the page with a map of the picture's regions for each model."""
