"""The data set's card, in Markdown with front matter for the Hugging Face hub and `datasets`, and its plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facellm.attributes import attribute
from train.reports.plots import save_png
from train.teachers.checks import REASONS

_KINDS = {"age": "Age group", "gender": "Gender", "race": "Ethnicity"}


def card(manifest: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """files: split -> JSONL file, as written below the card's folder."""
    splits = list(manifest["images"])
    names = {"train": "train", "val": "validation"}
    front = ["---", "task_categories: [image-text-to-text]", "language: [en]", "tags: [face, face-understanding]"]
    front += ["configs:", "- config_name: default", "  data_files:"]
    for split in splits:
        front += [f"  - split: {names[split]}", f"    path: {files[split]}"]
    front.append("---")
    count = f"{manifest['written']} questions and answers about {sum(manifest['images'].values())} images."
    text = {"measured": _measured, "seen": _seen}.get(manifest["teacher"], _asked)(count, manifest)
    if not manifest["complete"]:
        open_now = manifest["wanted"] - manifest["written"] - manifest["set_aside"]
        text.append(f"**Not complete:** {open_now} of {manifest['wanted']} questions are not answered yet.")
    text.append("## Answers")
    rows = [
        [attribute(key).title, *(manifest["answers"][split][key] for split in splits)]
        for key in manifest["answers"][splits[0]]
    ]
    text.append(_markdown(["attribute", *splits], rows))
    text.append("## People")
    text.append(f"![Distributions of age, gender, ethnicity and length]({'distributions.png'})")
    for kind, title in _KINDS.items():
        labels = manifest["people"][splits[0]][kind]
        rows = [[label, *(manifest["people"][split][kind][label] for split in splits)] for label in labels]
        text.append(_markdown([title, *splits], [row for row in rows if any(row[1:])]))
    text.append("## What was not kept")
    text.append(
        f"{manifest['set_aside']} questions were set aside, after several answers that failed a check or because "
        "nothing could answer them. Failed checks: an answer may fail several."
    )
    failed = [[REASONS[key], count] for key, count in sorted(manifest["failed_checks"].items())]
    text.append(_markdown(["check", "answers"], failed) if failed else "No answer failed a check.")
    text.append("## Limits")
    text.append(
        "The labels are other people's impressions of faces, not facts about them, and every answer is a machine's "
        "work on one picture. The checks find contradictions with the labels and faults of form; a wrong statement "
        "that no label covers passes them. The images keep their own licence, and a teacher's terms may limit what "
        "its answers may be used for."
    )
    return "\n".join(front) + "\n\n" + "\n\n".join(text) + "\n"


def _asked(count: str, manifest: Mapping[str, Any]) -> list[str]:
    settings, cost = manifest["settings"], manifest["cost_usd"]
    models = ", ".join(f"{name} ({number})" for name, number in manifest["served_models"].items())
    return [
        "# Descriptions of faces by a teacher model",
        f"{count} The teacher saw each image together with its labels for age, gender and ethnicity; neither is part "
        "of the questions.",
        f"- labels: `{manifest['labels']}`\n- teacher: {models}, image detail "
        f"{_or_default(settings['detail'])}, seed {_or_default(settings['seed'])}\n"
        f"- prompt version: `{manifest['prompt_version']}`\n"
        f"- cost: {'not known' if cost is None else f'{cost:.2f} USD, answers that were not kept included'}\n"
        f"- held out for validation, by image: {manifest['val_fraction']:.1%}",
    ]


def _or_default(setting: Any) -> str:
    return "the API's default" if setting is None else f"`{setting}`"


def _measured(count: str, manifest: Mapping[str, Any]) -> list[str]:
    return [
        "# Descriptions of faces by measurement",
        f"{count} **No model saw the images.** Every answer was put together from the labels for age, gender and "
        "ethnicity and from measurements: statistics of the pixels, and of a face mesh where there was one. What was "
        "not measured is not said, and questions that nothing measured would answer are left out.",
        f"- labels: `{manifest['labels']}`\n- teacher: `measured`, seed {manifest['settings']['seed']}\n"
        f"- wording: `{manifest['prompt_version']}`\n"
        f"- held out for validation, by image: {manifest['val_fraction']:.1%}",
    ]


def _seen(count: str, manifest: Mapping[str, Any]) -> list[str]:
    settings = manifest["settings"]
    return [
        "# Descriptions of faces by a model that saw them",
        f"{count} A vision-language model looked at each picture once and wrote tags and a caption, for some faces the "
        "eight answers themselves. **No person wrote or checked them.** Every other answer was composed by rules from "
        "the tags, the caption, the labels and measurements of the picture; what is not known is not said.",
        f"- labels: `{manifest['labels']}`\n- teacher: `seen`, tags `{settings['tags']}`, written answers "
        f"`{settings['answers'] or 'none'}`, seed {settings['seed']}\n- wording: `{manifest['prompt_version']}`\n"
        f"- held out for validation, by image: {manifest['val_fraction']:.1%}",
    ]


def _markdown(head: list[str], rows: list[list[Any]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def plot(manifest: Mapping[str, Any], path: Path) -> None:
    """Bars: images by age group, gender and ethnicity (splits stacked), answers by their number of words."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(2, 2).ravel()
    for axis, (kind, title) in zip(axes, _KINDS.items(), strict=False):
        bottom: list[int] | None = None
        for split, people in manifest["people"].items():
            values = list(people[kind].values())
            axis.bar(list(people[kind]), values, bottom=bottom, label=split)
            bottom = values
        axis.set_title(title)
        axis.set_ylabel("images")
        axis.tick_params(axis="x", rotation=0 if kind == "gender" else 60)
    axes[0].legend()
    words = manifest["words"]
    axes[3].bar([int(low) + 10 for low in words], list(words.values()), width=18)
    axes[3].set_title("Length of the answers")
    axes[3].set_xlabel("words")
    axes[3].set_ylabel("answers")
    save_png(figure, path)
