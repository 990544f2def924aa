"""Makes a run's data ready before anything is computed: read, validated, mixed, every image tried, every fault told."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from facellm.errors import FaceLLMError
from facellm.storage.files import write_text
from train.lora.conversations import DataSet, check_images, mixed, read_dataset
from train.lora.rows.example import LISTED, Fault, refuse


@dataclass(frozen=True)
class DataOptions:
    """What goes into a run beside its own set.

    Attributes:
        val_data: Another set, whose rows validate.
        mix: A general set, of which rows are mixed in.
        mix_ratio: The general rows' share of all training rows, above 0 and below 1.
        skip_bad: Whether rows that cannot be used are left out rather than refused.
        skip_long: Whether rows longer than the cutoff are left out rather than refused.
    """

    val_data: Path | None = None
    mix: Path | None = None
    mix_ratio: float = 0.2
    skip_bad: bool = False
    skip_long: bool = False


ALONE = DataOptions()  # a set by itself


def prepare(
    data: Path, out: Path, options: DataOptions, seed: int = 0, known: Iterable[str] = (), first: bool = True
) -> DataSet:
    """Reads and checks everything that a run will learn and be validated on.

    Args:
        data: The training set.
        out: The run's folder, in which a list of the bad rows is written where there are any.
        options: What goes in beside it.
        seed: Of the draw of general rows.
        known: Images that need not exist, because their features are cached under their names.
        first: Whether this is the first of several processes, which alone writes and tells.

    Returns:
        The set, without the bad rows.

    Raises:
        FaceLLMError: For bad rows, unless they are to be skipped; for a set that cannot be read or has no row left.
    """
    if not 0 < options.mix_ratio < 1:
        raise FaceLLMError(f"--mix-ratio is {options.mix_ratio}; it must be above 0 and below 1.")
    faults: list[Fault] = []
    dataset = read_dataset(data, faults)
    if options.val_data is not None:
        dataset = dataset.validated_by(read_dataset(options.val_data, faults))
    own = len(dataset.train)
    if options.mix is not None:
        dataset = mixed(dataset, read_dataset(options.mix, faults, image_column=False), options.mix_ratio, seed)
    rows = len(dataset.train) + len(dataset.val) + len(faults)
    images = check_images(dataset, known)
    faults += images
    listed = out / LISTED
    if faults and first:
        write_text(listed, "".join(f"{fault}\n" for fault in faults))
    if not options.skip_bad:
        refuse(faults, rows, listed)
    general = len(dataset.train) - own
    dataset = dataset.without(images)
    if not dataset.train:
        raise FaceLLMError(f"No training row of {data} can be used; what is wrong with each is listed in {listed}.")
    if first:
        print(_counts(dataset, general, len(faults), listed), file=sys.stderr)
    return dataset


def data_digest(data: Path, options: DataOptions, seed: int) -> str:
    """Returns the digest that a run on these rows records where none of them is bad."""
    dataset = read_dataset(data)
    if options.mix is not None:
        dataset = mixed(dataset, read_dataset(options.mix, image_column=False), options.mix_ratio, seed)
    return dataset.digest


def _counts(dataset: DataSet, general: int, bad: int, listed: Path) -> str:
    parts = [f"{len(dataset.train):,} rows to learn", f"{len(dataset.val):,} to validate on"]
    if general:
        parts[0] += f", {general:,} of them general"
    if dataset.test:
        parts.append(f"{dataset.test:,} of the test split left out")
    if bad:
        parts.append(f"{bad:,} bad ones left out (listed in {listed})")
    return "data: " + "; ".join(parts)
