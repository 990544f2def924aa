"""The files of a training set as raw rows: JSON, JSON Lines under any name, parquet, and folders of `save_to_disk`."""

from __future__ import annotations

import codecs
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError

TRAIN_FILES = ("dataset.json", "dataset.jsonl", "train.json", "train.jsonl")
VAL_FILES = ("dataset_val.json", "dataset_val.jsonl", "val.json", "val.jsonl", "validation.json", "validation.jsonl")
SUFFIXES = (".json", ".jsonl", ".ndjson")
# Names of splits, as sets on the hub and trainers spell them, whatever their case.
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_DESCRIPTIONS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
_BOMS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip


@dataclass(frozen=True)
class RawRow:
    """A row as its file holds it. values: None where it cannot be read, and `fault` says why, as a clause."""

    where: str
    values: dict[str, Any] | None
    fault: str = ""


def part_of(name: object) -> str | None:
    """Returns "train", "val" or "test" for a split's name, whatever its case; None for a name of no known split."""
    return PARTS.get(str(name).strip().lower())


def find_sources(place: Path) -> list[tuple[Path, str]]:
    """Finds the files, or folders of `save_to_disk`, that make up a set.

    Args:
        place: A folder, or one file of any name.

    Returns:
        Each source with the split that its rows belong to unless they say otherwise.

    Raises:
        FaceLLMError: Where there is none, or it is not clear which is meant.
    """
    if place.is_file():
        return [(place, "train")]
    if (place / "dataset_dict.json").is_file():
        return _saved_splits(place)
    if (place / "state.json").is_file():
        return [(place, "train")]
    found = [(place / name, "train") for name in TRAIN_FILES if (place / name).is_file()][:1]
    if found:
        return found + _validation(place)
    for pattern in ("*.parquet", "data/*.parquet", "**/*.parquet"):
        if files := sorted(place.glob(pattern)):
            return _parquet_parts(files)
    others = sorted(f for f in place.glob("*") if f.suffix in SUFFIXES and f.name not in (*_DESCRIPTIONS, *VAL_FILES))
    if len(others) > 1:
        names = ", ".join(file.name for file in others[:4])
        raise FaceLLMError(
            f"{place} holds {len(others)} files of rows ({names}); name one of them, or call it train.jsonl."
        )
    if not others:
        raise FaceLLMError(
            f"There is no {', '.join(TRAIN_FILES)}, parquet or folder of save_to_disk in {place}; make a set with "
            "`python -m train dataset`."
        )
    return [(others[0], "train"), *_validation(place)]


def _validation(place: Path) -> list[tuple[Path, str]]:
    return [(place / name, "val") for name in VAL_FILES if (place / name).is_file()][:1]


def _saved_splits(place: Path) -> list[tuple[Path, str]]:
    try:
        names = [str(name) for name in json.loads((place / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FaceLLMError(f"{place / 'dataset_dict.json'} cannot be read ({error}); save the set again.") from None
    parts = [(place / name, part_of(name)) for name in names]
    for folder, part in parts:
        if part is None:
            raise _unknown_split(folder.name, str(place))
    return [(folder, part) for folder, part in parts if part]


def _parquet_parts(files: list[Path]) -> list[tuple[Path, str]]:
    """Of "train-00000-of-00002.parquet" the word before the first dash, else the folder's name; all train without."""
    words = [file.stem.split("-")[0].split(".")[0] for file in files]
    parts = [part_of(word) or part_of(file.parent.name) for word, file in zip(words, files, strict=True)]
    if any(parts) and None in parts:
        place = parts.index(None)
        raise _unknown_split(words[place], str(files[place]))
    return [(file, part or "train") for file, part in zip(files, parts, strict=True)]


def _unknown_split(name: str, where: str) -> FaceLLMError:
    return FaceLLMError(f"{where} has a split {name!r}; name splits {', '.join(PARTS)}, or take this one out.")


def source_bytes(source: Path) -> Iterator[bytes]:
    """Yields the content of a source for its digest: the file's bytes, or those of a saved folder's tables by name."""
    for file in sorted(source.glob("*.arrow")) if source.is_dir() else [source]:
        with file.open("rb") as opened:
            while block := opened.read(2**20):
                yield block


def read_rows(source: Path) -> list[RawRow]:
    """Reads every row of a source.

    Raises:
        FaceLLMError: Where the source as a whole cannot be read.
    """
    if source.is_dir() or source.suffix == ".parquet":
        return [RawRow(f"{source} row {place}", row) for place, row in enumerate(_table(source), 1)]
    try:
        raw = source.read_bytes()
        text = raw.decode(next((name for bom, name in _BOMS if raw.startswith(bom)), "utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise FaceLLMError(f"{source} cannot be read as text ({error}); save it as UTF-8.") from None
    if text.lstrip().startswith("["):
        return _listed(source, text)
    rows = [_line(f"{source} line {n}", line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if rows and all(row.values is None for row in rows):
        return [_single(source, text, rows[0].fault)]
    return rows


def _listed(source: Path, text: str) -> list[RawRow]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _no_json(source, error) from None
    return [_raw(f"{source} row {place}", row) for place, row in enumerate(rows, 1)]


def _single(source: Path, text: str, fault: str) -> RawRow:
    """One object that is written over several lines; whatever else it may be is no JSON."""
    try:
        return _raw(f"{source} row 1", json.loads(text))
    except (ValueError, RecursionError):
        raise _no_json(source, fault) from None


def _line(where: str, line: str) -> RawRow:
    try:
        return _raw(where, json.loads(line))
    except (ValueError, RecursionError) as error:
        return RawRow(where, None, f"is not valid JSON ({error})")


def _raw(where: str, row: Any) -> RawRow:
    if isinstance(row, dict):
        return RawRow(where, row)
    return RawRow(where, None, f"is of type {type(row).__name__}, where an object belongs")


def _no_json(source: Path, error: object) -> FaceLLMError:
    return FaceLLMError(f"{source} is not valid JSON ({error}); write it again with `python -m train dataset`.")


def _table(source: Path) -> list[dict[str, Any]]:
    """Rows of a parquet file or of a folder of `save_to_disk`; images stay bytes and path, as they are stored."""
    if importlib.util.find_spec("datasets") is None:
        raise FaceLLMError(f"{source} needs the package datasets to be read; install it with `pip install datasets`.")
    try:
        if source.is_dir():
            import datasets

            return datasets.load_from_disk(str(source)).with_format("arrow")[:].to_pylist()
        import pyarrow.parquet

        return pyarrow.parquet.read_table(source).to_pylist()
    except (OSError, ValueError, KeyError, TypeError) as error:  # pyarrow's own errors are ValueError and OSError
        reason = str(error).strip().splitlines()[0]
        raise FaceLLMError(f"{source} cannot be read ({reason}); save it again.") from None
