"""`facellm calibrate-question`: fits a typed question to labelled pictures, and refuses where that does not help.

The pictures lie in one folder for each option (PHOTOS/yes/*.jpg, PHOTOS/no/*.jpg). Figures "after" are cross-fitted:
every picture is judged by a fit on the other folds only.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from facellm import policy
from facellm.attributes import sensitive_allowed
from facellm.cli.photo_paths import Photo, find_photos
from facellm.cli.progress import Progress
from facellm.cli.quiet import quiet
from facellm.cli.request import open_chosen
from facellm.errors import FaceLLMError, ImageError
from facellm.model_options import ModelOptions
from facellm.storage.writable import not_written, usable_file
from facellm.typed.question import FOLDER, Fit, TypedQuestion, parse

if TYPE_CHECKING:
    import numpy as np

    from facellm.api import Questions

LEAST = 32  # pictures in all
LEAST_EACH = 5  # pictures of each option
FOLDS = 5


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Scores, fits, prints a table and writes the question's file.

    Args:
        args: The parsed command line.
        out: Where the table is printed.

    Returns:
        0.

    Raises:
        FaceLLMError: For what the user can mend, and where the fit helps no model.
    """
    question = parse(args.ask, args.name)
    policy.check(question.ask, sensitive_allowed())
    options = ModelOptions.read(args)
    labelled = read_labelled(Path(args.photos), question)
    target = usable_file(Path(args.out or f"{question.name}.json"))
    quiet(args.verbose, notes=True)
    model = open_chosen(args, options)
    scores, labels = _score(model, question, labelled)
    _check_counts(question, labels)
    fits, lines = {}, []
    for variant in model.variants:
        fit, measured, helps = fit_variant(scores[variant], labels)
        lines.append(_line(variant, measured, helps))
        if helps:
            fits[variant] = fit
    out.write(_HEAD + "".join(lines))
    out.flush()
    if not fits:
        raise FaceLLMError(
            f"Calibrating {question.ask!r} helps no model on these {len(labels)} pictures: labels of pictures "
            "that were left out get no likelier. Nothing was written; reword the question or give more pictures."
        )
    fitted = TypedQuestion(question.name, question.ask, question.options, fits, model.weights_digest)
    try:
        fitted.write(target)
    except OSError as error:
        print(json.dumps(fitted.to_dict(), indent=2, ensure_ascii=False), file=out)  # what was found is not lost
        raise not_written(target, error) from None
    print(f"Written: {target}. Put it into the folder {FOLDER!r} beside the model's weights, or ask with "
          f"`facellm profile PHOTO --ask {target}`.", file=sys.stderr)  # fmt: skip
    return 0


def read_labelled(folder: Path, question: TypedQuestion) -> list[tuple[Photo, int]]:
    """Lists the pictures of each option's folder.

    Args:
        folder: Holds one folder for each option, named after it in any case.
        question: Whose options are looked for.

    Returns:
        Each picture with the option's index.

    Raises:
        FaceLLMError: Where a folder is missing, or there is one more than options.
    """
    try:
        inner = {path.name.casefold(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    except OSError as error:
        raise FaceLLMError(f"The folder {folder} cannot be read ({error.strerror or error}).") from None
    inner = {name: path for name, path in inner.items() if not name.startswith(".")}
    wanted = {option.casefold(): number for number, option in enumerate(question.options)}
    for what, names in (("lacks", wanted.keys() - inner.keys()), ("has an unknown", inner.keys() - wanted.keys())):
        if names:
            raise FaceLLMError(
                f"{folder} {what} folder {min(names)!r}: it needs one for each option, {', '.join(question.options)}."
            )
    return [(photo, wanted[name]) for name, path in inner.items() for photo in find_photos([str(path)])]


def fit_variant(scores: np.ndarray, labels: np.ndarray) -> tuple[Fit, dict[str, Any], bool]:
    """Fits one model's scores.

    Args:
        scores: (pictures, options) log-likelihoods in nats.
        labels: (pictures,) indices of the right options.

    Returns:
        The fit on all pictures; its figures before and after (cross-fitted in FOLDS folds); and whether it helps: the
        mean log-likelihood of the labels is higher after it.
    """
    import numpy as np

    from facellm.intervals import wilson
    from facellm.typed import calibration

    raw = calibration.calibrated(scores, 1.0, np.zeros(scores.shape[1]))
    crossed = np.empty_like(raw)
    folds = np.empty(len(labels), int)
    for option in range(scores.shape[1]):  # every fold gets its share of every option
        own = np.flatnonzero(labels == option)
        folds[np.random.default_rng(0).permutation(own)] = np.arange(len(own)) % FOLDS
    for fold in range(FOLDS):
        here = folds == fold
        crossed[here] = calibration.calibrated(scores[here], *calibration.fit(scores[~here], labels[~here]))
    rows = np.arange(len(labels))
    nll = [float(-np.log(np.clip(p[rows, labels], 1e-12, 1)).mean()) for p in (raw, crossed)]
    right = int((crossed.argmax(-1) == labels).sum())
    low, high = wilson(right, len(labels), 0.95)
    measured = {
        "images": len(labels),
        "majority": round(float(np.bincount(labels).max() / len(labels)), 4),
        "accuracy_before": round(float((raw.argmax(-1) == labels).mean()), 4),
        "accuracy": {"value": round(right / len(labels), 4), "low": round(low, 4), "high": round(high, 4)},
        "ece_before": round(calibration.expected_calibration_error(raw, labels), 4),
        "ece_after": round(calibration.expected_calibration_error(crossed, labels), 4),
        "nll_before": round(nll[0], 4),
        "nll_after": round(nll[1], 4),
    }
    temperature, biases = calibration.fit(scores, labels)
    return Fit(round(temperature, 4), tuple(round(float(b), 4) for b in biases), measured), measured, nll[1] < nll[0]


_HEAD = (
    f"{'model':<8} {'pictures':>8} {'majority':>9} {'right before':>13} {'right after':>12} {'95 %':>14} "
    f"{'ECE before':>11} {'after':>6}\n"
)


def _line(variant: str, m: dict[str, Any], helps: bool) -> str:
    accuracy = m["accuracy"]
    interval = f"{accuracy['low']:.0%} to {accuracy['high']:.0%}"
    note = "" if helps else "   no better than before: not kept"
    return (
        f"{variant:<8} {m['images']:>8} {m['majority']:>9.0%} {m['accuracy_before']:>13.0%} {accuracy['value']:>12.0%} "
        f"{interval:>14} {m['ece_before']:>11.3f} {m['ece_after']:>6.3f}{note}\n"
    )


def _score(
    model: Questions, question: TypedQuestion, labelled: list[tuple[Photo, int]]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """{variant: (pictures, options)} in nats, and (pictures,) labels; pictures that cannot be used are told and left
    out."""
    import numpy as np

    scores: dict[str, list[list[float]]] = {variant: [] for variant in model.variants}
    labels = []
    with Progress(len(labelled)) as progress:
        for photo, label in labelled:
            try:
                if photo.fault:
                    raise ImageError(photo.fault)
                view = model.view(photo.path)
            except ImageError as error:
                print(f"facellm: {photo.name} is left out: {error}", file=sys.stderr)
                progress.add(True)
                continue
            for variant, found in model.option_scores(view, [question], model.variants).items():
                scores[variant].append(found[0])
            labels.append(label)
            progress.add(False)
    return {variant: np.array(rows) for variant, rows in scores.items()}, np.array(labels, int)


def _check_counts(question: TypedQuestion, labels: np.ndarray) -> None:
    each = [int((labels == number).sum()) for number in range(len(question.options))]
    if len(labels) < LEAST or min(each) < LEAST_EACH:
        had = ", ".join(f"{option}: {count}" for option, count in zip(question.options, each, strict=True))
        raise FaceLLMError(
            f"{len(labels)} usable pictures are too few ({had}): a calibration needs {LEAST}, and {LEAST_EACH} of each "
            "option; 100 or more are better."
        )
