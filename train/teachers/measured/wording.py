"""The measured teacher's answer to each of the eight attribute questions: key -> writer.

A writer takes `Facts` and a random generator and returns one plain paragraph.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType

from train.faces.facts import Facts
from train.teachers.measured.person_text import demographic, expression, pose, skin, structure
from train.teachers.measured.picture_text import detail, forensic, lighting

# Part of every request's identity, so answers in another wording are written anew: raise it by hand (to "measured-2")
# with every change of the wording or of the bars in train.faces. The first version is named as earlier releases named
# it, so that their answers count.
WORDING_VERSION = "measured-1-f563c778"
WRITERS: Mapping[str, Callable[[Facts, random.Random], str]] = MappingProxyType(
    {
        "demographic": demographic,
        "structure": structure,
        "skin": skin,
        "expression": expression,
        "lighting": lighting,
        "pose": pose,
        "forensic": forensic,
        "detail": detail,
    }
)
