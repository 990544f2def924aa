"""The one reader of label files: CSV tables whose rows name an image `file`, and the spellings of labels in them.

Label files in circulation went through spreadsheets, which put a byte-order mark in front, separate by semicolons, and
read "3-9" and "10-19" as dates; such ages have one possible origin each, so they are repaired and reported.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from facellm.errors import FaceLLMError
from facellm.labels import AGE_GROUPS, EXPRESSIONS, FAIRFACE_ETHNICITIES, GENDERS
from train.faces.conventions import celeba_gender, celeba_list, utk_labels

# UTKFace says Asian (any) and Others, which FairFace's seven groups do not have.
RACES = (*FAIRFACE_ETHNICITIES, "Asian", "Others")
VOCABULARIES = {"age": AGE_GROUPS, "gender": GENDERS, "race": RACES, "expression": EXPRESSIONS}
MAX_YEARS = 120
# Column -> the other names that label files give it.
_ALIASES = {
    "file": ("image", "path", "filename", "file_name", "image_id", "img_id", "image_path"),
    "age": ("age_group",),
    "gender": ("sex",),
    "race": ("ethnicity",),
}
# AffectNet's and FaceXBench's adjectives for the expressions that they name otherwise.
_SYNONYMS = {
    "happy": "happiness",
    "sad": "sadness",
    "angry": "anger",
    "surprised": "surprise",
    "disgusted": "disgust",
    "fearful": "fear",
}
_INDICES = {"gender": GENDERS}  # the one column whose class indices UTKFace and FairFace agree on
_YEARS = r"\d{1,3}(?:\.0+)?"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_GERMAN = {"mär": "mar", "mrz": "mar", "mae": "mar", "mai": "may", "okt": "oct", "dez": "dec"}
# (month, day) that a spreadsheet makes of an age group, month first and day first; 19 is no month.
_DATES = {(3, 9): "3-9", (9, 3): "3-9", (10, 19): "10-19", (19, 10): "10-19"}
_OLDEST = AGE_GROUPS[-1]


@dataclass(frozen=True)
class Note:
    """A fault or a repair.

    Attributes:
        line: Line of the label file, from 1.
        file: The image as the line names it; may be empty.
        text: What is wrong with it, or what was repaired.
    """

    line: int
    file: str
    text: str

    def __str__(self) -> str:
        return f"line {self.line} ({self.file or 'no file'}): {self.text}"


@dataclass(frozen=True)
class Table:
    """The rows of a CSV file.

    Attributes:
        columns: The header's names in lower case, `file`, `age`, `gender` and `race` under these names.
        rows: (line number, column -> stripped cell) of every row that is not empty.
        faults: Lines that are no row of the table.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]
    faults: tuple[Note, ...]


@dataclass
class FileLabels:
    """The labels of each image that a file names.

    Attributes:
        labels: file -> {"age", "gender", "race", "expression": label}; what is empty or unknown is left out.
        years: file -> age in years, where the file gives years and not only a group.
        unknown: (column, cell) -> number of cells that name no label.
        unnamed: What is wrong with the names of images that should carry labels, by line (`read_name_labels`).
    """

    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    years: dict[str, float] = field(default_factory=dict)
    unknown: Counter[tuple[str, str]] = field(default_factory=Counter)
    unnamed: list[Note] = field(default_factory=list)

    def about_unknown(self, source: Path) -> str | None:
        """Returns a sentence that counts and lists the unknown labels; None where there are none."""
        if self.unnamed:
            first, count = self.unnamed[0], len(self.unnamed)
            return (
                f"{count} image{'s' if count > 1 else ''} of {source} left out; the first, {first.file}: {first.text}."
            )
        if not self.unknown:
            return None
        listed = ", ".join(f"{column} {text!r} ({count})" for (column, text), count in self.unknown.most_common())
        return f"{source} has {self.unknown.total()} labels that are unknown and were left out: {listed}."


def read_table(
    path: Path, option: str, needs: Collection[str] = ("file",), *, labels: bool = True, multiline: bool = False
) -> Table:
    """Reads a CSV file in UTF-8, separated by commas, semicolons or tabs; or CelebA's list_attr_celeba.txt.

    Args:
        path: The file.
        option: The command-line option that names it, for messages.
        needs: Columns that must be there.
        labels: Whether other names of `file`, `age`, `gender` and `race` are understood.
        multiline: Whether a quoted cell may span lines. In label files none does: there, a stray quotation mark would
            swallow the rows behind it, so it is a fault of its own line.

    Raises:
        FaceLLMError: Where the file cannot be read or a column is missing.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FaceLLMError(f"The file {path} cannot be read: {error.strerror}; check {option}.") from None
    except UnicodeDecodeError:
        raise FaceLLMError(f"The file {path} is not UTF-8 text; save it as CSV in UTF-8.") from None
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    parsed = _whole(text, delimiter) if multiline else celeba_list(_lines(text)) or _by_line(text, delimiter)
    _, header = next(parsed, (1, []))
    columns = [cell.strip().lower() for cell in header] if isinstance(header, list) else []
    for name, others in _ALIASES.items() if labels else ():
        if name not in columns and (other := next((one for one in others if one in columns), None)):
            columns[columns.index(other)] = name
    celeba = labels and "male" in columns and "gender" not in columns
    if celeba:
        columns.append("gender")
    if missing := [name for name in needs if name not in columns]:
        if celeba:
            raise FaceLLMError(
                f"{path} is a list of CelebA's attributes, which tell the gender and no {missing[0]}; give labels with "
                f"{', '.join(needs)}."
            )
        raise FaceLLMError(
            f"{path} has no column `{missing[0]}` (it has: {', '.join(columns) or 'none'}); its first line must name "
            f"{', '.join(needs)}."
        )
    rows, faults = [], []
    for line, cells in parsed:
        if isinstance(cells, str):
            faults.append(Note(line, "", cells))
        elif any(cell.strip() for cell in cells):
            row = dict.fromkeys(columns, "") | dict(zip(columns, (cell.strip() for cell in cells), strict=False))
            if celeba:
                row["gender"] = celeba_gender(row["male"])
            named = len(columns) - celeba
            if any(cell.strip() for cell in cells[named:]):
                faults.append(Note(line, row.get("file", ""), f"{len(cells)} cells stand under {named} columns"))
            else:
                rows.append((line, row))
    return Table(tuple(columns), tuple(rows), tuple(faults))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return enumerate(re.split(r"\r\n|\r|\n", text), 1)


def _by_line(text: str, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    for number, line in _lines(text):
        try:
            yield number, next(csv.reader([line], delimiter=delimiter, strict=True), [])
        except csv.Error:
            yield number, "a quotation mark is opened and not closed on this line"


def _whole(text: str, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        yield line, f"the row that begins here is not CSV ({error})"


def rows_by_file(path: Path, option: str, needs: Collection[str] = ("file",)) -> dict[str, dict[str, str]]:
    """Reads a table whose every row must be good and about an image of its own.

    Returns:
        file -> column -> cell.

    Raises:
        FaceLLMError: As `read_table`, and for the first line that is no row, names no file, or names it again.
    """
    table = read_table(path, option, needs)
    if table.faults:
        raise FaceLLMError(f"{path}, {table.faults[0]}; correct that line.")
    found: dict[str, dict[str, str]] = {}
    for line, row in table.rows:
        if not row["file"]:
            raise FaceLLMError(f"{path}, line {line} names no `file`; fill it in or remove the row.")
        if row["file"] in found:
            raise FaceLLMError(f"{path}, line {line} names {row['file']} a second time; remove one of the two rows.")
        found[row["file"]] = row
    return found


def local_name(folder: Path, file: str) -> str:
    """Returns an image's name below a folder, with slashes; an absolute path is taken as one where it leads into it."""
    name = Path(file.replace("\\", "/"))
    if name.is_absolute() and name.is_relative_to(folder.absolute()):
        return name.relative_to(folder.absolute()).as_posix()
    return file


def read_name_labels(names: Iterable[str]) -> FileLabels:
    """Reads the labels in UTKFace's file names; images that are named otherwise become `unnamed`."""
    read = FileLabels()
    for number, name in enumerate(names, 1):
        cells = utk_labels(name)
        try:
            if isinstance(cells, str):
                raise ValueError(cells)
            read.labels[name] = {column: read_label(column, text)[0] for column, text in cells.items()}
            read.years[name] = float(cells["age"])
        except ValueError as error:
            read.unnamed.append(Note(number, name, str(error)))
    return read


def read_file_labels(path: Path, option: str = "--labels", folder: Path | None = None) -> FileLabels:
    """Reads the labels of every image that a CSV names, in the spelling of `facellm.labels`.

    Args:
        path: The CSV, or CelebA's list.
        option: The command-line option that names it, for messages.
        folder: The folder of the images; None for the file's own.

    Raises:
        FaceLLMError: As `rows_by_file`, and for an `age_years` that is no number.
    """
    read = FileLabels()
    for name, row in rows_by_file(path, option).items():
        file = local_name(path.parent if folder is None else folder, name)
        if file in read.labels:
            raise FaceLLMError(f"{path} names {file} a second time, as {name}; remove one of the two rows.")
        labels = read.labels[file] = {}
        for column in VOCABULARIES:
            if text := row.get(column):
                try:
                    labels[column] = read_label(column, text)[0]
                except ValueError:
                    read.unknown[column, text] += 1
        years = number(row, "age_years", path)
        if years is None and re.fullmatch(_YEARS, row.get("age", "")) and "age" in labels:
            years = float(row["age"])
        if years is not None:
            read.years[file] = years
    return read


def number(row: Mapping[str, str], column: str, path: Path) -> float | None:
    """Returns a cell as a number; None where it is empty.

    Raises:
        FaceLLMError: For a cell that is no number.
    """
    text = row.get(column)
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise FaceLLMError(
            f"{path}, {row['file']}: {column} is {text!r}, which is no number; correct it or leave it empty."
        ) from None


def read_label(column: str, text: str) -> tuple[str, bool]:
    """Reads a label in any case, with any of space, hyphen, slash and underscore between its words.

    Args:
        column: A key of `VOCABULARIES`.
        text: The cell.

    Returns:
        The label as the vocabulary spells it, and whether it had to be repaired.

    Raises:
        ValueError: For any other text; its message says why, and what the label must be.
    """
    if column == "age":
        return age_group(text)
    known = VOCABULARIES[column]
    if text.isdecimal():
        if column in _INDICES and int(text) < len(_INDICES[column]):
            return _INDICES[column][int(text)], True
        raise ValueError(
            f"{column} {text!r} is a class index, which data sets count in different orders; name one of "
            f"{', '.join(known)}"
        )
    plain = _plain(text)
    found = next((label for label in known if _plain(label) == plain), None)
    found = found or (_SYNONYMS.get(plain) if column == "expression" else None)
    if found is None:
        raise ValueError(f"unknown {column} {text!r}; it must be one of {', '.join(known)}")
    return found, False


def _plain(text: str) -> str:
    return re.sub(r"[\s_/-]+", " ", text).strip().lower()


def age_group(text: str) -> tuple[str, bool]:
    """Reads an age group or an age in years.

    Returns:
        FairFace's age group, and whether it had to be repaired: years are put into their group (not a repair), dates
        that a spreadsheet made are turned back.

    Raises:
        ValueError: Where the text is no age.
    """
    plain = text.strip()
    if plain in AGE_GROUPS:
        return plain, False
    if re.fullmatch(_YEARS, plain) and float(plain) <= MAX_YEARS:
        ends = (int(group.split("-")[1]) for group in AGE_GROUPS[:-1])
        return next((g for g, end in zip(AGE_GROUPS, ends, strict=False) if int(float(plain)) <= end), _OLDEST), False
    dashed = re.sub(r"\s*[\u2010-\u2015\u2212-]\s*", "-", plain.strip("'\""))
    if dashed in AGE_GROUPS:
        return dashed, True
    if re.fullmatch(r"70\s*\+|>\s*70|more than 70", dashed, re.I):
        return _OLDEST, True
    group = _DATES.get(_month_and_day(dashed))
    if group is None:
        raise ValueError(f"unknown age {text!r}; it must be one of {', '.join(AGE_GROUPS)}, or years")
    return group, True


def _month_and_day(text: str) -> tuple[int, int] | None:
    """9-Mar, 09. Mrz 24, Okt-19, 19.10.2024, 3/9/2024, 2024-10-19 (with or without a time) -> (month, day).

    Of two numbers the first is taken for the month; where it was the day, no other age group comes of it.
    """
    if found := re.fullmatch(r"\d{4}[-/](\d{1,2})[-/](\d{1,2})(?:[ T][\d:.]+)?", text):
        return int(found[1]), int(found[2])
    if found := re.fullmatch(r"(\d{1,2})([./-])(\d{1,2})(?:\2(?:\d{2,4})?(?:[ T][\d:.]+)?)?", text):
        # "3-9" itself is no date, and 10.19 is no age in years
        return int(found[1]), int(found[3])
    if found := re.fullmatch(r"(\d{1,2})[-/. ]{1,2}([A-Za-zä]{3,9})\.?(?:[-/. ]{1,2}\d{2,4})?", text):
        day, month = found[1], found[2]
    elif found := re.fullmatch(r"([A-Za-zä]{3,9})\.?[-/. ]{1,2}(\d{1,2})", text):
        month, day = found[1], found[2]
    else:
        return None
    short = month[:3].lower()
    short = _GERMAN.get(short, short)
    return (_MONTHS.index(short) + 1, int(day)) if short in _MONTHS else None
