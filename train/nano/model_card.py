"""The measured figures of nano, written into its model card, the README and `results.json` (which the page shows).

Only what stands between `<!-- NAME -->` and `<!-- /NAME -->` is replaced; what stands around it is written by hand.
Nothing is measured here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError

README_FIELDS = {
    "gender": "gender",
    "ethnicity": "ethnicity, five groups",
    "age_group": "age group, nine",
    "expression": "expression, eight",
    "pose": "head pose, three",
}


def read(path: Path) -> Any:
    """A JSON file. Raises FaceLLMError where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FaceLLMError(f"{path} holds no figures ({error}); run the command that writes it first.") from None


def percent(share: Mapping[str, float], unit: str = " %") -> str:
    """ "91.0 % [88.7, 92.9]" of a share with its interval."""
    return f"{100 * share['value']:.1f}{unit} [{100 * share['low']:.1f}, {100 * share['high']:.1f}]"


def table(head: str, rows: list[str]) -> str:
    return "\n".join([head, "|" + " --- |" * (head.count("|") - 1), *rows])


def labels_table(ece: Mapping[str, Any]) -> str:
    """Right labels of base and FaceLLM, and FaceLLM's expected calibration error before and after."""
    base, tuned = ece["base"], ece["facellm"]
    return table(
        "| field | faces | base, right | FaceLLM-nano, right | calibration error before | after |",
        [
            f"| {name.replace('_', ' ')} | {own['images']} | {percent(base[name]['accuracy'])} | "
            f"{percent(own['accuracy'])} | {own['before']:.3f} | {own['after']:.3f} |"
            for name, own in tuned.items()
        ],
    )


def letters_table(results: Mapping[str, Any]) -> str:
    """Right letters per sub-task, FaceLLM's mean over the right answers' labels, gain in points, McNemar's p (Holm)."""
    base, tuned = (results["models"][variant]["generate"] for variant in ("base", "facellm"))
    paired = results["paired"]["generate"]
    rows = []
    for name in [*tuned["tasks"], "overall"]:
        own, other, pair = (
            part["overall"] if name == "overall" else part["tasks"][name] for part in (tuned, base, paired)
        )
        gain, low, high = (f"{100 * pair[key]:+.1f}" for key in ("gain", "low", "high"))
        rows.append(
            f"| {name} | {own['accuracy']['total']} | {percent(other['accuracy'], '')} | "
            f"{percent(own['accuracy'], '')} | {percent(own['balanced'], '') if name != 'overall' else '-'} | "
            f"{gain} [{low}, {high}] | {pair.get('p_holm', pair['p']):.2g} |"
        )
    head = "| sub-task | questions | base, % | FaceLLM-nano, % | balanced over labels, % | gain in points | p |"
    return table(head, rows)


def words_table(models: Mapping[str, Any]) -> str:
    """Free text: answers with a wrong claim of those that claim anything known, and which facts were wrong."""
    rows = []
    for attribute, found in models["facellm"].items():
        answers, facts = found["answers"], found["facts"].items()
        checked = ", ".join(f"{fact} {rate['count']} of {rate['total']}" for fact, rate in facts if rate["total"])
        own, again, of = found["self"]["count"], found["repeats"]["count"], found["asked"]
        wrong = f"{answers['count']} of {answers['total']}"
        rows.append(f"| {attribute} | {wrong} | {checked or '-'} | {own} | {again} | {found['different']} of {of} |")
    head = "| attribute | wrong | wrong of the claims, by fact | against themselves | with repetitions | different |"
    return table(head, rows)


def readme_table(ece: Mapping[str, Any]) -> str:
    base, tuned = ece["base"], ece["facellm"]
    return table(
        "| field | base | FaceLLM-nano | calibration error |",
        [
            f"| {title} | {percent(base[name]['accuracy'])} | {percent(tuned[name]['accuracy'])} | "
            f"{tuned[name]['after']:.3f} |"
            for name, title in README_FIELDS.items()
        ],
    )


def speed_table(bench: Mapping[str, Any]) -> str:
    median = bench["median"]
    rows = (
        ("import of torch, transformers, peft", "import_seconds", "s"),
        ("loading nano", "load_seconds", "s"),
        ("finding the face, first photo", "face_seconds", "s"),
        ("eight answers, first time", "eight_answers_first_seconds", "s"),
        ("eight answers, afterwards", "eight_answers_seconds", "s"),
        ("first token of the eight", "first_token_seconds", "s"),
        ("tokens a second, eight answers together", "tokens_per_second", ""),
        ("profile", "profile_seconds", "s"),
        ("peak resident memory", "peak_rss_mb", "MB"),
    )
    return table(
        f"| median of {bench['repeats']}, {bench['threads']} CPU threads | |",
        [f"| {title} | {median[key]:.{0 if median[key] > 20 else 2}f} {unit} |".replace("  |", " |")
         for title, key, unit in rows],
    )  # fmt: skip


def fill(path: Path, parts: Mapping[str, str]) -> None:
    """Replaces what stands between the marks of each part. Raises FaceLLMError where a mark is missing."""
    text = path.read_text(encoding="utf-8")
    for name, body in parts.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise FaceLLMError(f"{path} has no part between <!-- {name} --> and <!-- /{name} -->; add the two marks.")
        text = pattern.sub(lambda found, body=body: found[1] + body + found[2], text)
    path.write_text(text, encoding="utf-8")


def summary(ece: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
    """Rows of `results.json`: metric, FaceLLM, base."""
    rows = [
        {
            "metric": f"{name.replace('_', ' ')}, right label",
            **{variant: f"{100 * ece[variant][name]['accuracy']['value']:.1f} %" for variant in ("facellm", "base")},
        }
        for name in ece["facellm"]
    ]
    models = {variant: results["models"][variant]["generate"] for variant in ("facellm", "base")}
    for name in [*models["facellm"]["tasks"], "overall"]:
        values = {
            variant: (part["overall"] if name == "overall" else part["tasks"][name])["accuracy"]["value"]
            for variant, part in models.items()
        }
        rows.append({"metric": f"{name}, right letter of four"} | {w: f"{100 * v:.1f} %" for w, v in values.items()})
    return {"rows": rows}


def write_card(
    nano: Path, readme: Path, evaluation: Path, speed: Path | None = None, freetext: Path | None = None
) -> dict[str, int]:
    """Fills card, README and `results.json`; returns the number of rows of the last."""
    ece = read(nano / "calibration.json")["ece"]["figures"]
    results = read(evaluation / "results.json")
    parts = {"labels": labels_table(ece), "letters": letters_table(results)}
    if speed:
        parts["speed"] = speed_table(read(speed))
    if freetext:
        parts["words"] = words_table(read(freetext / "results.json")["models"])
    fill(nano / "README.md", parts)
    fill(readme, {"nano": readme_table(ece)})
    found = summary(ece, results)
    (nano / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return {"rows": len(found["rows"])}
