"""Rows of labelled faces to ask a teacher about, checked one by one before anything is paid for.

Reads a label file in or beside the folder of images, else UTKFace's file names, and decodes every image once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from facellm.errors import FaceLLMError, ImageError
from facellm.vision.images import load_image
from train.faces.conventions import UTK_FORM, is_picture, utk_labels, utk_names
from train.faces.label_files import Note, local_name, read_label, read_table

COLUMNS = ("age", "gender", "race")


@dataclass(frozen=True)
class LabelRow:
    """One labelled image.

    Attributes:
        line: Where it stands, from 1; the number of the file for UTKFace's names.
        file: The image's name below the folder of images.
        age: One of `AGE_GROUPS`.
        gender: One of `GENDERS`.
        race: One of `RACES`.
        path: The image file.
        digest: SHA-256 of the image file's bytes.
    """

    line: int
    file: str
    age: str
    gender: str
    race: str
    path: Path
    digest: str = ""


@dataclass(frozen=True)
class Labels:
    """What a label file, or the names in a folder, say.

    Attributes:
        source: The label file's path, or the folder's.
        rows: Rows whose fields and images are good.
        faults: What is wrong with the others, by line.
        repairs: Labels that were read as something else than they say.
    """

    source: str
    rows: tuple[LabelRow, ...]
    faults: tuple[Note, ...]
    repairs: tuple[Note, ...]


def read_labels(
    images: Path,
    labels: Path | None = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Labels:
    """Reads and checks all rows, in the file's order.

    Args:
        images: The folder of the images.
        labels: A CSV; None takes the one `fairface_label_*.csv` in or beside the folder, else UTKFace's names.
        limit: Rows that are looked at, at most.
        progress: Told (done, of) after each image that was decoded.

    Raises:
        FaceLLMError: Where nothing can be read at all; single bad rows become `faults`.
    """
    if not images.is_dir():
        raise FaceLLMError(f"{images} is not a folder; give the folder of the images with --images.")
    labels = labels or label_file(images)
    rows: list[LabelRow] = []
    faults: list[Note] = []
    repairs: list[Note] = []
    if labels:
        table = read_table(labels, "--labels", ("file", *COLUMNS))
        source, faults = iter(table.rows), list(table.faults)
    else:
        source = _utk_rows(images, faults)
    first: dict[str, int] = {}
    for number, (line, cells) in enumerate(source):
        if limit is not None and number >= limit:
            faults = [note for note in faults if note.line < line]
            break
        problems, values = [], {}
        for name in COLUMNS:
            try:
                values[name], repaired = read_label(name, cells[name])
                if repaired:
                    repairs.append(Note(line, cells["file"], f"{name} {cells[name]!r} read as {values[name]!r}"))
            except ValueError as error:
                problems.append(str(error))
        file, path = find_image(images, cells["file"])
        if not file:
            problems.append("no file is named")
        elif path is None:
            problems.append(f"there is no such image under {images}")
        elif file in first:
            problems.append(f"the same file stands in line {first[file]} already")
        first.setdefault(file, line)
        if path is None or problems:
            faults.append(Note(line, cells["file"], "; ".join(problems)))
        else:
            rows.append(LabelRow(line, file, path=path, **values))
    rows, more = _check_images(rows, progress)
    if not rows and not faults and not more:
        raise FaceLLMError(f"{labels or images} holds no labelled image; check --images and --labels.")
    faults = sorted([*faults, *more], key=lambda note: note.line)
    return Labels(str(labels or images), tuple(rows), tuple(faults), tuple(repairs))


def find_image(images: Path, file: str) -> tuple[str, Path | None]:
    """Finds an image that a label file names; never outside of the folder of images.

    `val/1.jpg` is looked for in the folder, and in the folder as `val` itself; an absolute path must lead into it.

    Returns:
        The image's name as it is kept, and its path; None where there is no such image.
    """
    file = local_name(images, file)
    name = Path(file.replace("\\", "/"))
    if not file or name.is_absolute() or ".." in name.parts:
        return file, None
    tries = [images / name]
    if len(name.parts) > 1 and name.parts[0] == images.name:
        tries.append(images / Path(*name.parts[1:]))
    return file, next((path for path in tries if path.is_file()), None)


def label_file(images: Path) -> Path | None:
    """Finds FairFace's label file in or beside a folder; None where there is none.

    Raises:
        FaceLLMError: Where there are several.
    """
    for folder in (images, images.parent):
        found = sorted(folder.glob("fairface_label_*.csv"))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise FaceLLMError(f"{folder} holds several label files ({names}); say which with --labels.")
        if found:
            return found[0]
    return None


def _utk_rows(images: Path, faults: list[Note]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of the names in a folder; names that are not UTKFace's go to `faults`."""
    files = sorted(path for path in images.rglob("*") if is_picture(path.relative_to(images).as_posix()))
    named = [utk_labels(path.name) for path in files]
    if not utk_names(path.name for path in files):
        raise FaceLLMError(
            f"{images} has no fairface_label_*.csv and no image named as UTKFace names them ({UTK_FORM}); give a label "
            "file with --labels."
        )
    for number, (path, labels) in enumerate(zip(files, named, strict=True), 1):
        file = path.relative_to(images).as_posix()
        if isinstance(labels, str):
            faults.append(Note(number, file, labels))
        else:
            yield number, {"file": file, **labels}


def _check_images(
    rows: list[LabelRow], progress: Callable[[int, int], None] | None
) -> tuple[list[LabelRow], list[Note]]:
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
        for done, (row, problem) in enumerate(pool.map(look, rows), 1):
            if progress is not None:
                progress(done, len(rows))
            if problem is None and row.digest in seen:
                problem = f"the same image as {seen[row.digest].file} in line {seen[row.digest].line}"
            if problem:
                faults.append(Note(row.line, row.file, problem))
            else:
                seen[row.digest] = row
                good.append(row)
    return good, faults
