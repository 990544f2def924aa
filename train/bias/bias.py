"""`python -m train bias`: does a model treat groups of people alike, and does it tie traits to groups?

Writes into --out: predictions/*.jsonl (a line an image, resumable), results.json, report.md and report.html.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facellm.attributes import attribute
from facellm.errors import FaceLLMError
from train import journal
from train.bias.other_questions import MOST_WORDINGS
from train.bias.predict import ATTRIBUTES, NEW_TOKENS, ModelPredictor, Prediction, Predictor, paced, run
from train.evaluate.extraction import is_refusal
from train.faces.label_rows import LabelRow, Labels, read_labels
from train.opening import about, add_options, check_positive, open_chosen
from train.outputs import progress, usable_folder, write_files
from train.reports import stats

if TYPE_CHECKING:
    import pandas as pd

    from train.bias.groups import Bootstrap, Measure

RESAMPLES = 1000
LEAST_TRAIT = 10  # images that must, and must not, show a trait


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m train bias", description=__doc__.split("\n")[0])
    add_options(p)
    p.add_argument("--images", type=Path, required=True, help="folder of the images")
    p.add_argument("--labels", type=Path, help="CSV with file, age, gender and race (default: as for train dataset)")
    p.add_argument("--dataset", type=Path, help="training set of train dataset: amplification against its answers")
    p.add_argument("--attributes", default=",".join(ATTRIBUTES), help='questions answered in words, or "none"')
    p.add_argument("--limit", type=int, help="at most so many images, drawn at random")
    p.add_argument(
        "--wordings", type=int, default=1,
        help=f"ask for gender, ethnicity and age in so many wordings, 1 to {MOST_WORDINGS} (1)",
    )  # fmt: skip
    p.add_argument("--seed", type=int, default=0, help="of the draw, the resamples and the permutations")
    p.add_argument("--least", type=int, default=10, help="images that a group needs to count in a gap (10)")
    p.add_argument("--resamples", type=int, default=RESAMPLES, help=f"for intervals ({RESAMPLES})")
    p.add_argument("--permutations", type=int, default=10_000, help="for the gaps' null (10000)")
    p.add_argument("--max-new-tokens", type=int, default=NEW_TOKENS)
    p.add_argument("--rows", type=int, help="questions in one forward pass (48)")
    p.add_argument("--out", type=Path, required=True)
    return p


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    check_positive(args, "limit", "wordings", "least", "resamples", "permutations", "max_new_tokens", "rows")
    keys = [] if args.attributes.strip() == "none" else [k.strip() for k in args.attributes.split(",") if k.strip()]
    for key in keys:
        attribute(key)  # an unknown one is refused before anything is opened
    if args.wordings > MOST_WORDINGS:
        raise FaceLLMError(f"--wordings is {args.wordings}; there are {MOST_WORDINGS}.")
    tell = paced(_say)
    _say(f"Looking at the images of {args.images}.")
    labels = read_labels(args.images, args.labels, progress=partial(tell, "images looked at"))
    rows = chosen(labels, args.limit, args.seed)
    usable_folder(args.out)
    loaded, variants = open_chosen(args)
    predictor = ModelPredictor(
        loaded, keys, new_tokens=args.max_new_tokens, rows=args.rows, wordings=args.wordings, tell=tell
    )
    _say(f"Asking about {len(rows)} images: {predictor.questions} questions each, of {' and '.join(variants)}.")
    settings = {**about(loaded, args), "images": str(args.images.resolve()), "attributes": keys,
                "max_new_tokens": args.max_new_tokens,
                **({"wordings": args.wordings} if args.wordings > 1 else {})}  # fmt: skip
    measure(
        rows, predictor, args.out, settings, variants=variants, labels=labels, dataset=args.dataset, seed=args.seed,
        least=args.least, resamples=args.resamples, permutations=args.permutations, progress=progress("images"),
    )  # fmt: skip
    print((args.out / "report.md").read_text(encoding="utf-8"))
    print(f"Written: {args.out / 'report.html'}, report.md, results.json and the predictions.", file=sys.stderr)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def chosen(labels: Labels, limit: int | None, seed: int) -> list[LabelRow]:
    """Draws at most `limit` of the good rows by the seed alone, and returns them in the file's order.

    Raises:
        FaceLLMError: Where no row is good, or where all are of one group in everything.
    """
    if not labels.rows:
        raise FaceLLMError(
            f"None of the {len(labels.faults)} rows of {labels.source} can be used; the first fault: "
            f"{labels.faults[0]}. Check --images and --labels."
        )
    order = list(range(len(labels.rows)))
    random.Random(seed).shuffle(order)
    rows = [labels.rows[i] for i in sorted(order[:limit])]
    if all(len({getattr(row, name) for row in rows}) == 1 for name in ("gender", "race", "age")):
        raise FaceLLMError(
            f"All {len(rows)} images are {rows[0].gender}, {rows[0].race} and {rows[0].age}; to compare groups give "
            "images of at least two."
        )
    return rows


def left_out(labels: Labels) -> list[str]:
    """What is wrong with the label file's other rows: a sentence for each kind, with a count and the first place."""
    kinds: dict[str, list[Any]] = {}
    for note in labels.faults:
        kinds.setdefault(re.sub(r"['\"(].*|\d+|line .*|\S*[/\\]\S*", "", note.text).strip(), []).append(note)
    return [f"{len(notes)} row{'s' if len(notes) > 1 else ''} left out; the first: {notes[0]}."
            for notes in sorted(kinds.values(), key=len, reverse=True)]  # fmt: skip


def measure(
    rows: Sequence[LabelRow], predictor: Predictor, out: Path, settings: dict[str, Any], *, variants: Sequence[str],
    labels: Labels | None = None, dataset: Path | None = None, seed: int = 0, least: int = 10,
    resamples: int = RESAMPLES, permutations: int = 10_000, progress: Any = None,
) -> dict[str, Any]:  # fmt: skip
    """Asks, measures and writes everything into a folder.

    Args:
        rows: The images with their labels.
        predictor: Who is asked.
        out: The folder; what it holds already is not asked again.
        settings: Whatever decides the answers.
        variants: "base", "facellm" or both.
        labels: The label file, for what it left out.
        dataset: A training set to measure amplification against.
        seed: Of resamples and permutations.
        least: Images that a group needs to count in a gap.
        resamples: Of the images, for intervals.
        permutations: For the gaps' null.
        progress: Told (variant, done, total) after each image.

    Returns:
        The content of results.json.

    Raises:
        FaceLLMError: Where `out` holds answers of other settings or cannot be written into.
    """
    from train.bias import gaps as bias_gaps
    from train.bias import groups as bias_groups
    from train.bias.bias_report import figures, report
    from train.reports.pages import html, markdown

    data = read_answers(dataset) if dataset else None
    journal.claim(usable_folder(out), settings)
    said = {w: run(rows, predictor, w, out / "predictions" / f"{w}.jsonl", progress) for w in variants}
    rows = [row for row in rows if all(row.file in found for found in said.values())]
    left = [] if labels is None else left_out(labels)
    if data is not None:
        data, told = fully_answered(data, said[variants[0]][rows[0].file].texts)
        left += told
    truth, bootstrap = bias_groups.table(rows), bias_groups.Bootstrap(len(rows), resamples, seed)
    measures: dict[str, list[Measure]] = {}
    results: dict[str, Any] = {
        "settings": settings, "seed": seed, "least": least, "resamples": resamples, "permutations": permutations,
        "images": len(rows), "labels": labels.source if labels else None, "dataset": str(dataset) if dataset else None,
        "left_out": left, "notes": list(bias_groups.empty_groups(truth)),
        "groups": {name: truth[name].value_counts().sort_index().to_dict() for name in bias_groups.GROUPS},
        "models": {}, "changes": [],
    }  # fmt: skip
    if labels and labels.repairs:
        results["notes"].append(f"{len(labels.repairs)} labels were repaired; the first: {labels.repairs[0]}.")
    if data is None and len(variants) < 2:
        results["notes"].append("Traits said in words have nothing to be held against: give --dataset or --both.")
    for name in variants:
        if progress is not None:
            _say(f"{name}: measuring groups, gaps and words ({resamples} resamples, {permutations} permutations).")
        found = [said[name][row.file] for row in rows]
        best = profile_labels(found)
        measures[name] = bias_groups.measures(truth, best, bootstrap)
        results["models"][name] = {
            "refused": stats.rate(*refusals(found)).to_dict(),
            "measures": [m.to_dict() for m in measures[name]],
            "gaps": bias_gaps.gaps(measures[name], least, permutations, seed),
            "summaries": bias_gaps.summarised_all(measures[name], least),
            "wordings": by_wording(truth, found, bootstrap, least),
            "representation": {"profile": bias_groups.shares(truth, best, bootstrap),
                               "words": bias_groups.shares(truth, word_labels(found), bootstrap)},
            "amplification": amplification(truth, name, said, data, bootstrap, seed),
            "words": group_words(truth, found),
        }  # fmt: skip
    if {"base", "facellm"} <= set(variants):
        results["changes"] = bias_gaps.changes(measures["base"], measures["facellm"], least)
    shown = report(results)
    write_files(
        out,
        {
            "results.json": json.dumps(results, indent=2, ensure_ascii=False),
            "report.md": markdown(shown),
            "report.html": html(shown, figures(results)),
        },
    )
    return results


def refusals(found: Sequence[Prediction]) -> tuple[int, int]:
    """(answers that refuse, answers)."""
    texts = [text for prediction in found for text in prediction.texts.values()]
    return sum(map(is_refusal, texts)), len(texts)


def profile_labels(found: Sequence[Prediction]) -> dict[str, dict[str, str | None]]:
    """field -> {file: likeliest label}."""
    return {name: {p.key: p.best(name) for p in found} for name in ("gender", "ethnicity", "age_group")}


def by_wording(
    truth: pd.DataFrame, found: Sequence[Prediction], bootstrap: Bootstrap, least: int
) -> list[dict[str, Any]]:
    """Rows of {"wording", "task", "grouping", "overall", and the summary metrics}: accuracy by single groups when the
    question is worded otherwise. Empty where one wording was asked."""
    from train.bias import gaps, groups

    numbers = sorted({number for p in found for number in p.worded}, key=int)
    rows: list[dict[str, Any]] = []
    for number in ["1", *numbers] if numbers else []:
        profiles = found if number == "1" else [Prediction(p.key, p.worded.get(number, {})) for p in found]
        for measure in groups.accuracies(truth, profile_labels(profiles), bootstrap):
            if summary := gaps.summarised(measure, least):
                rows.append({"wording": int(number), "task": measure.task, "grouping": measure.grouping[0], **summary})
    return rows


def word_labels(found: Sequence[Prediction]) -> dict[str, dict[str, str | None]]:
    """field -> {file: the label that the answers name, None where they name none}."""
    from train.bias.traits import named_in

    named = {p.key: named_in(p.texts) for p in found}
    return {name: {key: row[name] for key, row in named.items()} for name in ("gender", "ethnicity", "age_group")}


def group_words(truth: pd.DataFrame, found: Sequence[Prediction]) -> dict[str, list[dict[str, Any]]]:
    """grouping -> the words that differ by group (`train.bias.distinctive_words.by_group`)."""
    from train.bias.distinctive_words import by_group
    from train.bias.groups import GROUPS

    texts = [p.texts for p in found]
    return {name: by_group(texts, truth[name].tolist(), by_age=name == "band") for name in GROUPS}


def read_answers(folder: Path) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """(groups, {attribute: answer}) of every image of a training set that `train dataset` wrote.

    Raises FaceLLMError where the folder holds no such lines, or lines without labels.
    """
    from train.bias.groups import table

    paths = [p for p in (folder / "jsonl" / "train.jsonl", folder / "jsonl" / "validation.jsonl") if p.is_file()]
    if not paths:
        raise FaceLLMError(f"There is no jsonl/train.jsonl in {folder}; give a folder that train dataset wrote.")
    answers: dict[str, dict[str, str]] = {}
    rows: dict[str, LabelRow] = {}
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                file = row["image"]
                rows[file] = LabelRow(number, file, row["age"], row["gender"], row["race"], folder / file)
                answers.setdefault(file, {})[row["attribute"]] = row["answer"]
            except (ValueError, KeyError, TypeError) as error:
                raise FaceLLMError(
                    f"{path}, line {number} has no image, attribute, answer, age, gender and race ({error}); write the "
                    "set again with train dataset."
                ) from None
    if not rows:
        raise FaceLLMError(f"{paths[0]} holds no answer.")
    return table(list(rows.values())), list(answers.values())


def fully_answered(
    data: tuple[pd.DataFrame, list[dict[str, str]]], asked: Iterable[str]
) -> tuple[tuple[pd.DataFrame, list[dict[str, str]]] | None, list[str]]:
    """(the images of a training set that have an answer to everything asked, a sentence about the others).

    asked: attributes; those that the set does not answer at all count as not asked. An image whose answer was set aside
    would count as one that lacks every trait of it.  None where no image is left.
    """
    frame, answers = data
    wanted = set(asked) & {key for row in answers for key in row}
    kept = [place for place, row in enumerate(answers) if wanted <= row.keys()]
    told = []
    if len(kept) < len(answers):
        told.append(
            f"{len(answers) - len(kept)} of {len(answers)} images of the training set lack one of the answers "
            f"({', '.join(sorted(wanted))}) and were left out of what is compared with it."
        )
    if not kept:
        return None, told
    return (frame.iloc[kept].reset_index(drop=True), [answers[place] for place in kept]), told


def amplification(
    truth: pd.DataFrame, variant: str, said: Mapping[str, Mapping[str, Prediction]],
    data: tuple[pd.DataFrame, list[dict[str, str]]] | None, bootstrap: Bootstrap, seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of `train.bias.amplification.figures` with "reference", "group", "traits" and "images" of one model.

    Against the labels: ties between gender, ethnicity and age band in what is said. In words: expressions, age words
    and adjectives, against the training set's answers, and of FaceLLM against base's.
    """
    from train.bias.amplification import count, figures
    from train.bias.groups import GROUPS, Bootstrap, said_table
    from train.bias.traits import FAMILIES, trait_matrix

    found = [said[variant][file] for file in truth["file"]]
    right, told = said_table(truth, profile_labels(found))
    weights, rows = bootstrap.weights, []

    def one_hot(column: pd.Series, names: Sequence[str]) -> Any:
        return column.to_numpy()[:, None] == [list(names)]

    def both(groups: Any, traits: Any, own: Any = None) -> tuple[Any, Any]:
        return count(groups, traits), count(groups, traits, weights if own is None else own)

    # Each pair once: the direction trait -> group of one order is group -> trait of the other.
    for place, group in enumerate(GROUPS):
        names = sorted(set(right[group]))
        for trait in GROUPS[place + 1 :]:
            labels = sorted(set(right[trait]))
            if len(names) < 2 or len(labels) < 2:
                continue
            a, t = one_hot(right[group], names), one_hot(right[trait], labels)
            a_said, t_said = one_hot(told[group], names), one_hot(told[trait], labels)
            for row in figures(both(a, t), both(a, t_said), names, labels, reverse=both(a_said, t)):
                rows.append({"reference": "labels", "group": group, "traits": trait, "images": len(a), **row})
    references: list[tuple[str, pd.DataFrame, list[Mapping[str, str]], Any]] = []
    if data is not None:
        own = Bootstrap(len(data[0]), len(weights), seed + 1).weights
        references.append(("data set", data[0], list(data[1]), own))
    if variant == "facellm" and "base" in said:
        references.append(("base", truth, [said["base"][file].texts for file in truth["file"]], weights))
    for reference, frame, texts, own in references:
        asked = set(found[0].texts) & {key for answers in texts for key in answers}
        before = [{k: v for k, v in answers.items() if k in asked} for answers in texts]
        after = [{k: v for k, v in p.texts.items() if k in asked} for p in found]
        every, had = trait_matrix(before, LEAST_TRAIT)
        _, has = trait_matrix(after, LEAST_TRAIT, every)
        for family in FAMILIES:
            places = [i for i, trait in enumerate(every) if trait[0] == family]
            for group in GROUPS:
                names = sorted(set(frame[group]) & set(truth[group]))
                if not places or len(names) < 2:
                    continue
                counts = both(one_hot(frame[group], names), had[:, places], own)
                out = both(one_hot(truth[group], names), has[:, places])
                for row in figures(counts, out, names, [every[i][1] for i in places]):
                    rows.append({"reference": reference, "group": group, "traits": family, "images": len(truth), **row})
    return rows
