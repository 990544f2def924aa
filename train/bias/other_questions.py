"""Other wordings of the profile's questions about gender, ethnicity and age: a gap of one wording alone is no finding.

The labels stay the same, in the order of the profile, so that only the question differs.
"""

from __future__ import annotations

from facellm.profile import Field

WORDED = ("gender", "ethnicity", "age_group")
_OTHERS = {
    "gender": (
        "Does the person in the picture look {}? Reply with one of these.",
        "Choose the word that fits the person's apparent gender: {}.",
    ),
    "ethnicity": (
        "Which of these ethnic groups does the person's appearance suggest: {}?",
        "Choose the group that fits the face best: {}.",
    ),
    "age_group": (
        "Into which of these ranges does the person's age seem to fall: {}?",
        "Choose the years that fit the face best: {}.",
    ),
}
MOST_WORDINGS = 1 + min(map(len, _OTHERS.values()))


def other_question(field: Field, number: int) -> str:
    """Returns a field's question in another wording, from 2 on; the labels stand in it as in the profile's own."""
    return _OTHERS[field.key][number - 2].format(", ".join(field.labels))
