"""Rows written as CSV, JSON lines or Parquet: the same columns and values in each."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from facellm.cli.terms import TABLES
from facellm.errors import FaceLLMError
from facellm.storage.files import atomic_open, atomic_path

Columns = Sequence[tuple[str, str]]  # name and type ("text", "int", "float", "bool") of each
_ROWS = 1024  # written to Parquet at a time


def check_kind(path: Path) -> None:
    """Looks whether a table of the kind that a file's name asks for can be written here.

    Raises:
        FaceLLMError: For an unknown suffix, or Parquet without pyarrow.
    """
    kind = path.suffix.lower()
    if kind not in TABLES:
        known = f"{', '.join(TABLES[:-1])} or {TABLES[-1]}"
        raise FaceLLMError(f"{path} names no kind of table; let --out end in {known}.")
    if kind == ".parquet" and find_spec("pyarrow") is None:
        raise FaceLLMError(
            "Parquet needs pyarrow, which this environment lacks; install it with pip install 'facellm[parquet]', or "
            "let --out end in .csv or .jsonl."
        )


def write_table(path: Path, columns: Columns, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a table of the kind that its name asks for, whole or not at all. Rows are read one by one.

    Args:
        path: The file, which is replaced.
        columns: The columns in their order.
        rows: The rows; a column that one lacks is empty there.

    Raises:
        OSError: Where it cannot be written.
    """
    kind = path.suffix.lower()
    if kind == ".parquet":
        _write_parquet(path, columns, iter(rows))
        return
    names = [name for name, _ in columns]
    with atomic_open(path) as file:
        if kind == ".jsonl":
            for row in rows:
                line = {name: row.get(name) for name in names}
                file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
            return
        out = csv.writer(file, lineterminator="\n")
        out.writerow(names)
        out.writerows([_cell(row.get(name)) for name in names] for row in rows)


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value  # as JSON writes it; None is an empty cell


def _write_parquet(path: Path, columns: Columns, rows: Iterator[Mapping[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"text": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    schema = pa.schema([(name, types[kind]) for name, kind in columns])
    with atomic_path(path) as partial, pq.ParquetWriter(partial, schema) as out:
        while part := list(islice(rows, _ROWS)):
            out.write_table(pa.Table.from_pylist([{n: row.get(n) for n, _ in columns} for row in part], schema))
