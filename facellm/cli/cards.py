"""What one photo prints at the terminal: answers in cards that grow, and a profile's bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TextIO

BAR = 30  # characters of a probability of 1


def show(deltas: Iterator[Any], titles: Sequence[str], out: TextIO | None, statistics: bool = False) -> list[Any]:
    """Prints cards in order: the first unfinished one while it grows, the others when their turn comes.

    Args:
        deltas: Text of all rows as it grows.
        titles: The cards' titles, one a row.
        out: Where to print; None prints nothing.
        statistics: Whether tokens and seconds are printed under each card.

    Returns:
        The rows' Answers.
    """
    pending = ["" for _ in titles]
    answers: list[Any] = [None] * len(titles)
    current = -1

    def write(text: str) -> None:
        if out is not None:
            out.write(text)
            out.flush()

    def open_next() -> None:
        nonlocal current
        current += 1
        if current < len(titles):
            write(f"{titles[current]}\n{'-' * len(titles[current])}\n{pending[current].lstrip()}")

    open_next()
    for delta in deltas:
        if delta.row == current:
            write(delta.text)
        pending[delta.row] += delta.text
        if delta.done:
            answers[delta.row] = delta.answer
        while current < len(titles) and answers[current] is not None:
            a = answers[current]
            figures = f"[{a.tokens} tokens, {a.seconds:.2f} s, {a.tokens_per_second:.1f}/s]\n" if statistics else ""
            write(f"\n{figures}")
            if current + 1 < len(titles):
                write("\n")
            open_next()
    return answers


def profile_lines(profile: dict[str, Any]) -> Iterator[str]:
    """Yields the lines of a `Profile.to_dict()`: one block a field, one bar a label."""
    from facellm.profile import KNOWN_FIELDS

    titles = {f.key: f.title for f in KNOWN_FIELDS}
    for key, field in profile["fields"].items():
        yield f"{titles.get(key, key)}: {field['label']} ({field['probability']:.0%})"
        yield from _bars(field["probabilities"])
    if not profile["calibrated"]:
        yield "These probabilities are not calibrated: no calibration.json belongs to this model."


def choice_lines(choices: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yields the lines of `Choice.to_dict()`s: what was asked, a bar an option, and how far it can be trusted."""
    for choice in choices:
        yield f"{choice['ask']} {choice['option']} ({choice['probability']:.0%})"
        yield from _bars(choice["probabilities"])
        if blind := choice["without_picture"]:
            anyway = max(blind, key=blind.__getitem__)
            yield f"Without the picture the model would say {anyway}: {blind[anyway]:.0%}."
        if not choice["calibrated"]:
            yield "Untested: nobody has measured how often this model is right about it (facellm calibrate-question)."
        yield ""


def _bars(probabilities: dict[str, float]) -> Iterator[str]:
    width = max(map(len, probabilities))
    for label, p in probabilities.items():
        yield f"  {label:<{width}}  {'█' * round(p * BAR):<{BAR}}  {p:6.1%}"
    yield ""
