"""`python -m train calibrate`: one temperature per profile field and model, fitted on held-out labelled faces.

Writes `calibration.json` beside the model, which `facellm profile` reads, with the expected calibration error before
and after. The temperature is fitted on all images; the error "after" is cross-fitted: every image is judged with a
temperature fitted on the other half only, so that it is not measured on what it was fitted to.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from facellm.errors import FaceLLMError
from facellm.model_options import ModelOptions, add_model_options
from facellm.profile import CALIBRATION, TRAITS, Field, trained_fields
from facellm.typed.calibration import ECE_BINS, expected_calibration_error
from train.faces.known import Known, read_known
from train.faces.sets import SPLIT_HELP, chosen_split, open_sets
from train.opening import DEFAULT, check_positive
from train.outputs import progress, usable_folder, write_files
from train.reports import stats
from train.reports.pages import markdown_table, percent
from train.seen.known.tags import Seen, read_seen

DEFINITION = (
    "Expected calibration error of the top label, 15 equal-width bins, and temperature scaling: Guo et al. 2017, "
    "On Calibration of Modern Neural Networks, arXiv 1706.04599, sections 2 and 4.2. `after` is cross-fitted in halves."
)
LEAST = 20  # labelled images that a field needs; fewer, and its temperature stays 1
MEASURED = ("pose", "mouth", "eyes", "lighting", "sharpness")  # labels from measurements: plenty of images for each


class Scores(NamedTuple):
    """A field's scores: logits (n, labels) in nats, labels (n,) as indices, folds (n,) of 0 and 1."""

    logits: np.ndarray
    labels: np.ndarray
    folds: np.ndarray


def fold_of(key: str) -> int:
    """Returns 0 or 1 by the image's name, so that halves do not depend on the order of the images."""
    return hashlib.sha256(key.encode()).digest()[0] & 1


def score_fields(
    scorer: Any, variant: str, known: Sequence[Known], fields: Sequence[Field], measured_limit: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Scores]:  # fmt: skip
    """Scores every field on the images that have its label.

    Args:
        scorer: A `facellm.engine.offline.OfflineEngine` whose image keys are indices into `known`.
        variant: "base" or "facellm".
        known: The images with their labels.
        fields: What is asked.
        measured_limit: At most so many images for each field of `MEASURED`.
        progress: Told (variant, done, total) after each question.

    Returns:
        The scores of each field that any image has a label of.
    """
    from facellm.engine.offline import Ask

    asks, owners, taken = [], [], dict.fromkeys((f.key for f in fields), 0)
    for index, face in enumerate(known):
        for field in fields:
            label = face.labels.get(field.key)
            if label not in field.labels:
                continue
            if field.key in MEASURED and measured_limit is not None and taken[field.key] >= measured_limit:
                continue
            taken[field.key] += 1
            asks.append(Ask(field.question, (index,), field.labels))
            owners.append((field, field.labels.index(label), fold_of(face.key)))
    rows: dict[str, list[tuple[list[float], int, int]]] = {f.key: [] for f in fields}
    for done, (index, scores, _) in enumerate(scorer.score(asks, variant), 1):
        field, label, fold = owners[index]
        rows[field.key].append((scores, label, fold))
        if progress is not None:
            progress(variant, done, len(asks))
    return {key: Scores(*map(np.array, zip(*own, strict=True))) for key, own in rows.items() if own}


def calibrate(scores: Mapping[str, Scores]) -> tuple[dict[str, float], dict[str, Any]]:
    """Fits the fields that have at least `LEAST` images. Returns their temperatures, and figures before and after."""
    temperatures, figures = {}, {}
    for key, (logits, labels, folds) in scores.items():
        if len(labels) < LEAST or len(set(folds.tolist())) < 2:
            continue
        raw, crossed = stats.softmax(logits), stats.cross_fitted(logits, labels, folds)
        temperature = stats.fit_temperature(logits, labels)
        temperatures[key] = round(temperature, 4)
        picked = crossed[np.arange(len(labels)), labels]
        figures[key] = {
            "images": len(labels),
            "accuracy": stats.rate(int((raw.argmax(-1) == labels).sum()), len(labels)).to_dict(),
            "before": round(expected_calibration_error(raw, labels), 4),
            "after": round(expected_calibration_error(crossed, labels), 4),
            "nll_before": round(stats.negative_log_likelihood(logits, labels), 4),
            "nll_after": round(float(-np.log(np.clip(picked, 1e-12, 1)).mean()), 4),
        }
    return temperatures, figures


def with_traits(known: Sequence[Known], seen: Mapping[str, Seen]) -> list[Known]:
    """Adds the labels of `TRAITS` that a teacher's tags tell, to images of the sets that it saw."""
    found = []
    for face in known:
        tags = look.tags if (look := seen.get(face.key)) and not look.doubtful else {}
        told = {f.key: word for f in TRAITS if (word := tags.get(f.key)) in f.labels}
        found.append(replace(face, labels={**face.labels, **told}))
    return found


def table(figures: Mapping[str, Any], temperatures: Mapping[str, Mapping[str, float]]) -> str:
    """Returns the figures as Markdown."""
    head = ["model", "field", "images", "right, %", "ECE before", "ECE after", "temperature"]
    rows = [
        [variant, key, row["images"], percent(row["accuracy"]), f"{row['before']:.3f}", f"{row['after']:.3f}",
         f"{temperatures[variant][key]:.2f}"]
        for variant, by in figures.items() for key, row in by.items()
    ]  # fmt: skip
    return markdown_table(head, rows)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m train calibrate", description=__doc__.split("\n")[0])
    add_model_options(p, default=DEFAULT, backend=False)
    p.add_argument("--data", type=Path, action="append", required=True, help="labelled folder; may be repeated")
    p.add_argument("--split", help=SPLIT_HELP)
    p.add_argument(
        "--tags",
        type=Path,
        metavar="TAGS",
        help="folder of seen.csv: labels of glasses, hair, make-up and teeth",
    )
    p.add_argument("--limit", type=int, help="at most so many images of each folder")
    p.add_argument("--measured-limit", type=int, default=800, help="at most so many images for each measured field")
    p.add_argument("--nano-labels", action="store_true", help="use nano's five ethnicities for another model, too")
    p.add_argument("--out", type=Path, help="folder for calibration.json (default: the model's own)")
    return p


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    check_positive(args, "limit", "measured_limit")
    sets = open_sets(args.data)
    split = chosen_split(sets, args.split)
    known = read_known(sets, split, args.limit)
    if args.tags:
        known = with_traits(known, read_seen(args.tags))
    if not known:
        raise FaceLLMError(f"No labelled image of the split {split or 'all'!r} was found; check --data and --split.")
    from facellm.engine.offline import OfflineEngine

    if args.out:
        usable_folder(args.out)
    loaded = ModelOptions.read(args, default=DEFAULT).open_weights()
    out = usable_folder(args.out or loaded.folder)
    scorer = OfflineEngine(loaded, lambda index: known[index].image())
    # The sensitive ones too: an operator's switch hides them later.
    fields = trained_fields("utkface" if args.nano_labels else loaded.label_set, loaded.declared.fields)
    if args.tags and not any(field in TRAITS for field in fields):
        raise FaceLLMError(f"{loaded.report.name} declares no field that tags tell; leave out --tags.")
    temperatures, figures = {}, {}
    for variant in loaded.variants:
        scores = score_fields(scorer, variant, known, fields, args.measured_limit, progress("questions", 1000))
        temperatures[variant], figures[variant] = calibrate(scores)
    if not any(temperatures.values()):
        raise FaceLLMError(f"No field has {LEAST} labelled images, so no temperature can be fitted; give more --data.")
    print(table(figures, temperatures))
    about = {"split": split or "all", "sets": [s.name for s in sets], "bins": ECE_BINS}
    content = {**temperatures, "ece": {"definition": DEFINITION, **about, "figures": figures}}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    try:
        write_files(out, {CALIBRATION: text})
    except FaceLLMError:
        print(text)  # hours of work are not lost to a full disk
        raise
    print(f"Written: {out / CALIBRATION}", file=sys.stderr)
    return 0
