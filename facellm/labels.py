"""The label vocabularies of the field: every list of age groups, genders, ethnicities, expressions and poses is here.

Order matters: models are scored over labels in this order, and class indices of training targets count from it.
"""

from __future__ import annotations

# FairFace's nine age groups (Karkkainen & Joo, 2021), in years.
AGE_GROUPS = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
GENDERS = ("Male", "Female")
# The ethnicities that a model was trained to choose from, as its config.json declares them:
# {"facellm": {"label_set": "utkface"}}. A model that declares nothing is asked for the first set.
LABEL_SETS = ("fairface", "utkface")
# UTKFace's five groups (Zhang et al., 2017).
ETHNICITIES = ("White", "Black", "Asian", "Indian", "Others")
# FairFace's seven groups.
FAIRFACE_ETHNICITIES = (
    "White",
    "Black",
    "Latino_Hispanic",
    "East Asian",
    "Southeast Asian",
    "Indian",
    "Middle Eastern",
)
# The eight expressions of AffectNet and FER+, in FER+'s order.
EXPRESSIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
# Sides are the viewer's, as in every description that this project writes.
POSES = ("frontal", "turned to the viewer's left", "turned to the viewer's right")


def group_span(group: str) -> tuple[int, int]:
    """Returns the first and last year of an age group: "20-29" gives (20, 29); the last group is open (to 120)."""
    if group == AGE_GROUPS[-1]:
        return int(AGE_GROUPS[-2].split("-")[1]) + 1, 120
    low, high = group.split("-")
    return int(low), int(high)
