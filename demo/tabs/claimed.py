"""What an answer claims beside what the photo's profile says: a chip at each claim, marked where the two part."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from demo.page.markdown import inert
from demo.page.render import percent, render
from facellm.claims import AGE_SLACK, PROFILED, age_claim, claims, found

Fields = Mapping[str, Mapping[str, float]]  # a calibrated profile: field -> label -> probability

# How a label of a field reads in a chip; elsewhere the label alone.
_WORDS = {
    "mouth": "mouth {}",
    "eyes": "eyes {}",
    "lighting": "{} light",
    "hair_colour": "{} hair",
    "hair_length": "{} hair",
    "makeup": "{} make-up",
}
_WHOLE = {
    ("glasses", "none"): "no glasses",
    ("facial_hair", "none"): "no facial hair",
    ("hair_colour", "none"): "no hair to be seen",
    ("hair_length", "bald"): "bald",
    ("headwear", "none"): "nothing on the head",
    ("makeup", "none"): "no make-up",
    ("teeth", "yes"): "teeth visible",
    ("teeth", "no"): "no teeth visible",
}
_MOODS = {
    "happiness": "smiling",
    "surprise": "surprised",
    "sadness": "sad",
    "anger": "angry",
    "disgust": "disgusted",
    "fear": "afraid",
    "contempt": "contemptuous",
}
_SENTENCES = re.compile(r".+?(?:(?<=[.!?])\s+|\Z)", re.DOTALL)
# Of the probability: what an age interval holds at least.
SHARE = 0.8
_OLDEST = 120


def years(label: str) -> tuple[int, int]:
    """First and last year of an age group's label ("30-39", "more than 70")."""
    numbers = [int(n) for n in re.findall(r"\d+", label)]
    return numbers[0], numbers[1] if len(numbers) > 1 else _OLDEST


def interval(ages: Mapping[str, float], share: float = SHARE) -> tuple[int, int, float]:
    """The fewest neighbouring age groups that hold `share` of the probability.

    Args:
        ages: Age group -> probability, from the youngest to the oldest.
        share: How much they hold at least.

    Returns:
        The first and the last year, and the probability that they hold; of two equally short runs the likelier.
    """
    labels = list(ages)
    runs = [
        (j - i, -sum(ages[label] for label in labels[i:j]), i, j)
        for i in range(len(labels))
        for j in range(i + 1, len(labels) + 1)
    ]
    _, held, i, j = min(run for run in runs if -run[1] >= share - 1e-6 or run[0] == len(labels))
    return years(labels[i])[0], years(labels[j - 1])[1], -held


def _span(low: int, high: int) -> str:
    return f"{low}+" if high == _OLDEST else f"{low}–{high}"


def _age_chip(text: str, ages: Mapping[str, float]) -> str:
    claim = age_claim(text)
    if claim is None:
        return ""
    low, high, held = interval(ages)
    against = claim[0] > high + AGE_SLACK or claim[1] < low - AGE_SLACK
    return render("claim", said=f"age {_span(low, high)}", p=percent(held), against=against)


def _label_chip(field: str, label: str, probabilities: Mapping[str, float]) -> str:
    """Contradicted is a label of which another is at least twice as likely; then the chip names that one."""
    best = max(probabilities, key=probabilities.__getitem__)
    against = probabilities[best] >= 2 * probabilities[label]
    shown = best if against else label
    said = shown if field == "ethnicity" else _MOODS.get(shown, shown.lower())
    words = _WHOLE.get((field, shown)) or _WORDS.get(field, "{}").format(said)
    return render("claim", said=words, p=percent(probabilities[shown]), against=against)


def _sentences(text: str, fields: Fields) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Each sentence, the blank space behind it, and the chips (by field) of what it is the first to claim."""
    settled = {f: v for f, v in claims(text, PROFILED).items() if v in fields.get(f, {})}
    ages = fields.get("age_group")
    for match in _SENTENCES.finditer(text):
        sentence = match[0]
        body = sentence.rstrip()
        here = found(body, PROFILED)
        chips: dict[str, str] = {}
        if ages and (chip := _age_chip(body, ages)):
            chips["age_group"] = chip
            ages = None
        chips |= {f: _label_chip(f, settled.pop(f), fields[f]) for f in list(settled) if settled[f] in here.get(f, ())}
        yield body, sentence[len(body) :], chips


def claimed(text: str, fields: Fields) -> tuple[str, ...]:
    """The fields whose chips `annotated` writes, in their order."""
    return tuple(field for _, _, chips in _sentences(text, fields) for field in chips)


def annotated(text: str, fields: Fields) -> str:
    """The answer as Markdown, with a chip behind the sentence that first claims what the profile measures.

    Args:
        text: The model's words.
        fields: The photo's profile; fields that are not in it get no chip.

    Returns:
        Markdown and chips; the words alone where the text claims nothing of the profile.
    """
    return "".join(
        inert(body) + "".join(f" {chip}" for chip in chips.values()) + space
        for body, space, chips in _sentences(text, fields)
    )


def plain(profile: Mapping) -> Fields:
    """A profile's dict as `annotated` takes it."""
    return {key: field["probabilities"] for key, field in profile["fields"].items()}
