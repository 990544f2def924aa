"""Labels that data sets keep elsewhere than in a table of their own: UTKFace's file names, CelebA's lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from facellm.labels import ETHNICITIES, GENDERS
from facellm.vision.images import SUFFIXES

UTK_FORM = "AGE_GENDER_RACE_DATE.jpg"
_CELEBA_GENDERS = {"1": GENDERS[0], "-1": GENDERS[1], "0": GENDERS[1]}  # of the attribute Male


def is_picture(name: str) -> bool:
    """Whether a file may be a picture: by its suffix, and not a Mac's note beside it (`._1.jpg`, `__MACOSX/`)."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith("._") and "__MACOSX" not in path.parts


def utk_labels(name: str) -> dict[str, str] | str:
    """Reads the labels in a file name of UTKFace.

    Returns:
        The cells `age` (in years), `gender` and `race`; or a clause that says what is wrong with the name.
    """
    parts = PurePosixPath(name).name.split(".")[0].split("_")
    if not all(part.isdecimal() for part in parts) or not 3 <= len(parts) <= 4:
        return f"it is not named as UTKFace names its images ({UTK_FORM})"
    if len(parts) == 3:
        return f"its name has three parts where UTKFace has four ({UTK_FORM}): gender or race is missing"
    age, gender, race = parts[0], int(parts[1]), int(parts[2])
    if gender >= len(GENDERS) or race >= len(ETHNICITIES):
        return f"its name has gender {gender} and race {race}, which UTKFace does not have"
    return {"age": age, "gender": GENDERS[gender], "race": ETHNICITIES[race]}


def utk_names(names: Iterable[str]) -> bool:
    """Whether any of these images is named as UTKFace names its own."""
    return any(isinstance(utk_labels(name), dict) for name in names)


def celeba_list(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, list[str] | str]] | None:
    """Reads CelebA's list_attr_celeba.txt: how many images, the attributes' names, then a row of 1 and -1 an image.

    Args:
        lines: (number, text) of every line.

    Returns:
        (line number, cells), the header first; None where it is no such list.
    """
    kept = [(number, line) for number, line in lines if line.strip()]
    if len(kept) < 2 or not kept[0][1].strip().isdecimal() or "Male" not in kept[1][1].split():
        return None
    names = ["file", *kept[1][1].split()]

    def rows() -> Iterator[tuple[int, list[str] | str]]:
        yield kept[1][0], names
        for number, line in kept[2:]:
            cells = line.split()
            yield number, cells if len(cells) == len(names) else f"{len(cells)} cells stand under {len(names)} columns"

    return rows()


def celeba_gender(cell: str) -> str:
    """Reads the attribute Male; what is neither 1, 0 nor -1 is left as it is, and then no label."""
    return _CELEBA_GENDERS.get(cell, cell)
