"""The truth of a face, with the facts softened that its own caption contradicts.

The teacher wrote tags and a caption at one look; where they disagree ("clean-shaven" by the tag, "a hint of stubble"
in the caption) neither is taught firmly nor scored.
"""

from __future__ import annotations

from functools import lru_cache

from train.seen.claims import assertions, comparison
from train.seen.known.face_record import Face
from train.seen.known.truth import Truth


@lru_cache(maxsize=40_000)  # a caption is read once, however many epochs go over its face
def _read(caption: str) -> assertions.Reading:
    return assertions.read(caption)


def truth_of(face: Face) -> Truth:
    """Everything that may be said of the face, checked against its caption."""
    truth = Truth(face)
    if not face.caption:
        return truth
    disputed = comparison.falsehoods(truth, _read(face.caption))
    return Truth(face, disputed) if disputed else truth
