"""Why a label was chosen: a map of the image's regions, and what would be said without the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_PLACES = (("top left", "top", "top right"), ("left", "middle", "right"), ("bottom left", "bottom", "bottom right"))
FLAT = 0.05  # nats: where no region moves the log-odds by more, the map shows nothing


@dataclass(frozen=True)
class Explanation:
    """One model's reasons for a label.

    Attributes:
        variant: The model that was asked.
        question: The question in full.
        label: The label that is explained.
        probabilities: {label: probability} for the photo, uncalibrated.
        without_picture: The same for a blank picture in place of the photo.
        influence: Rows of the map, from the top left: what the label's log-odds lose in nats when that region is
            hidden. Above 0 a region speaks for the label, below 0 against it.
    """

    variant: str
    question: str
    label: str
    probabilities: dict[str, float]
    without_picture: dict[str, float]
    influence: tuple[tuple[float, ...], ...]

    @property
    def flat(self) -> bool:
        """Whether no region matters."""
        return self.strongest < FLAT

    @property
    def strongest(self) -> float:
        """The largest influence of a region, for or against, in nats: what gets full colour on a map of its own."""
        return max(abs(value) for row in self.influence for value in row)

    @property
    def map_words(self) -> str:
        """What the map shows, for who cannot see it."""
        if self.flat:
            return f"No region of the picture moves the answer {self.label!r}: the map is flat."
        value, row, column = max(
            (value, r, c) for r, values in enumerate(self.influence) for c, value in enumerate(values)
        )
        if value < FLAT:
            return f"No region speaks for {self.label!r}; some speak against it."
        side = len(self.influence)
        place = _PLACES[min(2, 3 * row // side)][min(2, 3 * column // side)]
        return f"What speaks most for {self.label!r} is in the {place} of the picture."

    @property
    def blind_words(self) -> str:
        """How much of the answer there would be without the picture."""
        with_it, anyway = self.probabilities[self.label], self.without_picture[self.label]
        return f"Without the picture the model would still say {self.label!r}: {anyway:.0%} (with it: {with_it:.0%})."

    @property
    def sentence(self) -> str:
        """The explanation in words."""
        return f"{self.map_words} {self.blind_words}"

    def to_dict(self) -> dict[str, Any]:
        """Returns the explanation for JSON, with probabilities to six digits and influences to four."""
        return {
            "variant": self.variant,
            "question": self.question,
            "label": self.label,
            "probabilities": {label: round(p, 6) for label, p in self.probabilities.items()},
            "without_picture": {label: round(p, 6) for label, p in self.without_picture.items()},
            "influence": [[round(value, 4) for value in row] for row in self.influence],
            "flat": self.flat,
            "sentence": self.sentence,
        }
