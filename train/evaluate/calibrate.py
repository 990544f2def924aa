"""`python -m train calibrate`: one temperature per profile field and model, fitted on held-out labelled faces.

Input: a model and labelled folders (as for `benchmark`). Output: `calibration.json` beside the model, read by
`facellm profile`, with the expected calibration error before and after. What this file does not know: how labels are
scored (`facellm.engine.offline`, the engine's formula), how a profile is shown.

The temperature that is written is fitted on all images; the error "after" is cross-fitted: every image is judged with a
temperature fitted on the other half only, so that it is not measured on what it was fitted to.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facellm.errors import FaceLLMError
from facellm.profile import CALIBRATION, FIELDS, Field
from train.faces.known import Known, read_known
from train.faces.sets import open_sets
from train.reports import stats

DEFINITION = (
    "Expected calibration error of the top label, 15 equal-width bins, and temperature scaling: Guo et al. 2017, "
    "On Calibration of Modern Neural Networks, arXiv 1706.04599, sections 2 and 4.2. `after` is cross-fitted in halves."
)
LEAST = 20  # labelled images that a field needs; fewer, and its temperature stays 1
MEASURED = ("pose", "mouth", "eyes", "lighting", "sharpness")  # labels from measurements: plenty of images for each


def fold_of(key: str) -> int:
    """0 or 1 by the image's name, so that halves do not hang on the order of the images."""
    return hashlib.sha256(key.encode()).digest()[0] & 1


def score_fields(
    scorer: Any, variant: str, known: Sequence[Known], fields: Sequence[Field], measured_limit: int | None = None,
    progress: Any = None,
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:  # fmt: skip
    """{field: (scores (n, labels) in nats, labels (n,), folds (n,))} over the images that have that field's label.

    scorer: a `facellm.engine.offline.Batched` whose image keys are indices into `known`.
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
    return {
        key: (np.array([r[0] for r in own]), np.array([r[1] for r in own]), np.array([r[2] for r in own]))
        for key, own in rows.items()
        if own
    }


def calibrate(scores: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[dict[str, float], dict[str, Any]]:
    """({field: temperature}, {field: figures before and after}); fields with fewer than `LEAST` images are left out."""
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
            "before": round(stats.expected_calibration_error(raw, labels), 4),
            "after": round(stats.expected_calibration_error(crossed, labels), 4),
            "nll_before": round(stats.negative_log_likelihood(logits, labels), 4),
            "nll_after": round(float(-np.log(np.clip(picked, 1e-12, 1)).mean()), 4),
        }
    return temperatures, figures


def fields_to_fit(label_set: str) -> list[Field]:
    """All fields, the sensitive ones too (an operator's switch hides them later), with the model's own labels."""
    return [field.for_label_set(label_set) for field in FIELDS]


def table(ece: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = ["| model | field | images | right, % | ECE before | ECE after | temperature |", "|" + " --- |" * 7]
    for variant, by in ece["figures"].items():
        for key, row in by.items():
            right = stats.Rate(**row["accuracy"])
            lines.append(
                f"| {variant} | {key} | {row['images']} | {right} | {row['before']:.3f} | {row['after']:.3f} | "
                f"{ece['temperatures'][variant][key]:.2f} |"
            )
    return "\n".join(lines)


def write(
    folder: Path, temperatures: dict[str, dict[str, float]], figures: dict[str, Any], about: dict[str, Any]
) -> Path:
    """calibration.json in `folder`: {which: {field: temperature}, "ece": {...}}; appears whole or not at all."""
    path = folder / CALIBRATION
    content = {**temperatures, "ece": {"definition": DEFINITION, **about, **figures}}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m train calibrate", description=__doc__.split("\n")[0])
    p.add_argument("--model", default="nano")
    p.add_argument("--adapter")
    p.add_argument("--device")
    p.add_argument("--data", type=Path, action="append", required=True, help="labelled folder; may be repeated")
    p.add_argument("--split", default="val")
    p.add_argument("--limit", type=int, help="at most so many images of each folder")
    p.add_argument("--measured-limit", type=int, default=800, help="at most so many images for each measured field")
    p.add_argument("--nano-labels", action="store_true", help="use nano's five ethnicities for another model, too")
    p.add_argument("--out", type=Path, help="folder for calibration.json (default: the model's own)")
    args = p.parse_args(argv)
    for name in ("limit", "measured_limit"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise FaceLLMError(f"--{name.replace('_', '-')} must be at least 1.")
    sets = open_sets(args.data)
    known = read_known(sets, None if args.split == "all" else args.split, args.limit)
    if not known:
        raise FaceLLMError(f"No labelled image of the split {args.split!r} was found; check --data and --split.")
    from facellm.engine.offline import Batched
    from facellm.weights.load import open_model

    loaded = open_model(args.model, adapter=args.adapter, device=args.device)
    scorer = Batched(loaded, lambda index: known[index].image())
    fields = fields_to_fit("utkface" if args.nano_labels else loaded.label_set)
    temperatures, figures = {}, {}
    for variant in loaded.variants:
        scores = score_fields(scorer, variant, known, fields, args.measured_limit, _progress)
        temperatures[variant], figures[variant] = calibrate(scores)
    if not any(temperatures.values()):
        raise FaceLLMError(f"No field has {LEAST} labelled images, so no temperature can be fitted; give more --data.")
    about = {"split": args.split, "sets": [s.name for s in sets], "bins": stats.ECE_BINS}
    path = write(args.out or loaded.folder, temperatures, {"figures": figures}, about)
    print(table({"figures": figures, "temperatures": temperatures}))
    print(f"Written: {path}", file=sys.stderr)
    return 0


def _progress(variant: str, done: int, total: int) -> None:
    if done == total or done % 1000 == 0:
        print(f"{variant}: {done} of {total} questions", file=sys.stderr, flush=True)
