"""An explanation drawn: the map to be laid over the picture, and what there would be to say without the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from demo.page.downloads import data_uri
from demo.page.render import render
from demo.page.texts import VARIANTS
from demo.runtime.photos import CROP_SIDE, jpeg
from facellm.typed.explanation import Explanation
from facellm.vision.heat_map import heat_map


@dataclass(frozen=True)
class Drawn:
    """One model's explanation as the page shows it.

    Attributes:
        why: The explanation.
        name: The model's name on the page.
        heat: The picture under the map at its full strength as a data: address; empty for a flat map, which is none.
    """

    why: Explanation
    name: str
    heat: str


def full_colour(found: Sequence[Explanation]) -> float:
    """The influence in nats that gets full colour on all maps; 0 where all of them are flat."""
    return max((one.strongest for one in found if not one.flat), default=0.0)


def show(title: str, picture: Image.Image, found: Sequence[Explanation]) -> str:
    """The maps of one answer side by side, on one scale, with a slider for their strength.

    Args:
        title: Of the profile's field, or the question.
        picture: What the models were shown.
        found: The models' explanations of one label.
    """
    largest = full_colour(found)
    small = picture.copy()
    small.thumbnail((CROP_SIDE, CROP_SIDE))
    drawn = [
        Drawn(
            one,
            VARIANTS[one.variant],
            "" if one.flat else data_uri(jpeg(heat_map(small, one.influence, largest=largest), CROP_SIDE)),
        )
        for one in found
    ]
    return render(
        "why",
        title=title,
        label=found[0].label,
        picture=data_uri(jpeg(small, CROP_SIDE)),
        drawn=drawn,
        factor=f"{math.exp(largest):.1f}" if largest else "",
    )
