"""Rows of labelled faces to ask a teacher about, checked one by one before anything is paid for.

Input: a folder of images and, beside it or in it, a label file: FairFace's (`file,age,gender,race,service_test`) or any
CSV with a file, an age (FairFace's group, or years), a gender and a race column; without one, UTKFace's names
(`AGE_GENDER_RACE_DATE.jpg`). Output: `Labels`: good rows, faults and repairs, both with line numbers.

Label files in circulation went through spreadsheets, which read "3-9" and "10-19" as dates; such ages have one possible
origin each, so they are repaired and reported. What this file does not know: teachers, prompts, prices.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from facellm.errors import FaceLLMError, ImageError
from facellm.labels import AGE_GROUPS, ETHNICITIES, FAIRFACE_ETHNICITIES, GENDERS
from facellm.vision.images import SUFFIXES, load_image

# UTKFace says Asian (any) and Others, which FairFace's seven groups do not have.
RACES = (*FAIRFACE_ETHNICITIES, "Asian", "Others")
_UTK_NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+")
_COLUMNS = {
    "file": ("file", "image", "path", "filename", "file_name"),
    "age": ("age", "age_group"),
    "gender": ("gender", "sex"),
    "race": ("race", "ethnicity"),
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# (month, day) that a spreadsheet makes of an age group, month first and day first; 19 is no month.
_DATES = {(3, 9): "3-9", (9, 3): "3-9", (10, 19): "10-19"}
_OLDEST = AGE_GROUPS[-1]
MAX_YEARS = 120


@dataclass(frozen=True)
class LabelRow:
    """line: where it stands (1-based; the number of the file for UTKFace's names).  file: as written.  path: the image.

    age, gender, race: one of AGE_GROUPS, GENDERS, RACES.  digest: SHA-256 of the image file's bytes.
    """

    line: int
    file: str
    age: str
    gender: str
    race: str
    path: Path
    digest: str = ""


@dataclass(frozen=True)
class Note:
    """A fault or a repair: in which line, about which file, and what."""

    line: int
    file: str
    text: str

    def __str__(self) -> str:
        return f"line {self.line} ({self.file or 'no file'}): {self.text}"


@dataclass(frozen=True)
class Labels:
    source: str  # the label file's path, or the folder's
    rows: tuple[LabelRow, ...]
    faults: tuple[Note, ...]
    repairs: tuple[Note, ...]


def age_group(text: str) -> tuple[str, bool]:
    """(FairFace's age group, whether it had to be repaired).  Raises ValueError where the text is no age.

    Years are put into their group (not a repair); dates that a spreadsheet made are turned back.
    """
    plain = text.strip()
    if plain in AGE_GROUPS:
        return plain, False
    if re.fullmatch(r"\d{1,3}(\.0+)?", plain) and float(plain) <= MAX_YEARS:
        years = int(float(plain))
        ends = (int(group.split("-")[1]) for group in AGE_GROUPS[:-1])
        return next((group for group, end in zip(AGE_GROUPS, ends, strict=False) if years <= end), _OLDEST), False
    dashed = re.sub(r"\s*[\u2010-\u2015\u2212-]\s*", "-", plain.strip("'\""))
    if dashed in AGE_GROUPS:
        return dashed, True
    if re.fullmatch(r"70\s*\+|>\s*70|more than 70", dashed, re.I):
        return _OLDEST, True
    group = _DATES.get(_month_and_day(dashed))
    if group is None:
        raise ValueError(text)
    return group, True


def _month_and_day(text: str) -> tuple[int, int] | None:
    """9-Mar, 09-Mar-24, Oct-19, 2024-10-19 (with or without a time) -> (month, day)."""
    if found := re.fullmatch(r"\d{4}[-/](\d{1,2})[-/](\d{1,2})(?:[ T][\d:.]+)?", text):
        return int(found[1]), int(found[2])
    if found := re.fullmatch(r"(\d{1,2})[-/. ]([A-Za-z]{3,9})\.?(?:[-/. ]\d{2,4})?", text):
        day, month = found[1], found[2]
    elif found := re.fullmatch(r"([A-Za-z]{3,9})\.?[-/. ](\d{1,2})", text):
        month, day = found[1], found[2]
    else:
        return None
    return (_MONTHS.index(month[:3].lower()) + 1, int(day)) if month[:3].lower() in _MONTHS else None


def read_labels(images: Path, labels: Path | None = None, limit: int | None = None) -> Labels:
    """All rows of `labels` whose fields and images are good, in the file's order (at most `limit` rows are looked at).

    labels: a CSV; None takes the one `fairface_label_*.csv` in or beside the folder, else UTKFace's names.
    Raises FaceLLMError where nothing can be read at all; single bad rows become `faults`.
    """
    if not images.is_dir():
        raise FaceLLMError(f"{images} is not a folder; give the folder of the images with --images.")
    labels = labels or _label_file(images)
    source = _csv_rows(labels) if labels else _utk_rows(images)
    rows: list[LabelRow] = []
    faults: list[Note] = []
    repairs: list[Note] = []
    first: dict[str, int] = {}
    for number, (line, cells) in enumerate(source):
        if limit is not None and number >= limit:
            break
        file = cells["file"]
        problems, values = [], {}
        try:
            values["age"], repaired = age_group(cells["age"])
            if repaired:
                repairs.append(Note(line, file, f"age {cells['age']!r} read as {values['age']!r}"))
        except ValueError:
            problems.append(f"unknown age {cells['age']!r}; it must be one of {', '.join(AGE_GROUPS)}, or years")
        for name, known in (("gender", GENDERS), ("race", RACES)):
            values[name] = _known(cells[name], known)
            if values[name] is None:
                problems.append(f"unknown {name} {cells[name]!r}; it must be one of {', '.join(known)}")
        path = find_image(images, file)
        if not file:
            problems.append("no file is named")
        elif path is None:
            problems.append(f"there is no such image under {images}")
        elif file in first:
            problems.append(f"the same file stands in line {first[file]} already")
        first.setdefault(file, line)
        if problems:
            faults.append(Note(line, file, "; ".join(problems)))
        else:
            rows.append(LabelRow(line, file, values["age"], values["gender"], values["race"], path))
    rows, more = _check_images(rows)
    if not rows and not faults and not more:
        raise FaceLLMError(f"{labels or images} holds no labelled image; check --images and --labels.")
    faults = sorted([*faults, *more], key=lambda note: note.line)
    return Labels(str(labels or images), tuple(rows), tuple(faults), tuple(repairs))


def find_image(images: Path, file: str) -> Path | None:
    """`val/1.jpg` is looked for in `images`, and in `images` as the folder `val` itself; never outside of it."""
    name = Path(file.replace("\\", "/"))
    if not file or name.is_absolute() or ".." in name.parts:
        return None
    tries = [images / name]
    if len(name.parts) > 1 and name.parts[0] == images.name:
        tries.append(images / Path(*name.parts[1:]))
    return next((path for path in tries if path.is_file()), None)


def _label_file(images: Path) -> Path | None:
    for folder in (images, images.parent):
        found = sorted(folder.glob("fairface_label_*.csv"))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise FaceLLMError(f"{folder} holds several label files ({names}); say which with --labels.")
        if found:
            return found[0]
    return None


def _csv_rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        text = file.read_text(encoding="utf-8-sig")  # spreadsheets put a byte-order mark in front
    except OSError as error:
        raise FaceLLMError(f"The label file {file} cannot be read: {error.strerror}; check --labels.") from None
    except UnicodeDecodeError:
        raise FaceLLMError(f"The label file {file} is not UTF-8 text; save it as CSV in UTF-8.") from None
    head = text.partition("\n")[0]
    reader = csv.reader(text.splitlines(), delimiter=max(",;\t", key=head.count))
    header = [cell.strip().lower() for cell in next(reader, [])]
    places = {}
    for column, names in _COLUMNS.items():
        places[column] = next((header.index(name) for name in names if name in header), None)
        if places[column] is None:
            raise FaceLLMError(
                f"The label file {file} has no column {column!r} (it has: {', '.join(header) or 'none'}); "
                "its first line must name file, age, gender and race."
            )
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield (
                reader.line_num,
                {column: cells[at].strip() if at < len(cells) else "" for column, at in places.items()},
            )


def _utk_rows(images: Path) -> Iterator[tuple[int, dict[str, str]]]:
    files = sorted(path for path in images.rglob("*") if path.suffix.lower() in SUFFIXES)
    named = [(path, found) for path in files if (found := _UTK_NAME.match(path.name))]
    if not named:
        raise FaceLLMError(
            f"{images} has no fairface_label_*.csv and no image named as UTKFace names them "
            "(AGE_GENDER_RACE_DATE.jpg); give a label file with --labels."
        )
    for number, path in enumerate(files, 1):
        found = _UTK_NAME.match(path.name)
        age, gender, race = found.groups() if found else ("", "", "")
        yield (
            number,
            {
                "file": path.relative_to(images).as_posix(),
                "age": age,
                "gender": GENDERS[int(gender)] if gender else "",
                "race": ETHNICITIES[int(race)] if race else "",
            },
        )


def _known(text: str, known: tuple[str, ...]) -> str | None:
    def plain(word: str) -> str:
        return re.sub(r"[\s_/-]+", " ", word).strip().lower()

    return next((label for label in known if plain(label) == plain(text)), None)


def _check_images(rows: list[LabelRow]) -> tuple[list[LabelRow], list[Note]]:
    """Decodes every image: a broken one, or one that is there twice under two names, is a fault."""

    def look(row: LabelRow) -> tuple[LabelRow, str | None]:
        try:
            data = row.path.read_bytes()
            load_image(data)
        except ImageError as error:
            return row, str(error)
        except OSError as error:
            return row, f"the image cannot be read: {error.strerror}"
        return replace(row, digest=hashlib.sha256(data).hexdigest()), None

    good: list[LabelRow] = []
    faults: list[Note] = []
    seen: dict[str, LabelRow] = {}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for row, problem in pool.map(look, rows):
            if problem is None and row.digest in seen:
                problem = f"the same image as {seen[row.digest].file} in line {seen[row.digest].line}"
            if problem:
                faults.append(Note(row.line, row.file, problem))
            else:
                seen[row.digest] = row
                good.append(row)
    return good, faults
