"""Profile: calibrated probabilities of age group, gender and the other fields, base and FaceLLM overlaid.

Input: the visitor's photo. Output: plots, a table, JSON. What this file does not know: how labels are scored or
temperatures fitted (`facellm.profile`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping

import gradio as gr

from facellm.errors import FaceLLMError
from facellm.profile import FIELDS, Field

from . import plots, settings, texts
from .common import (
    MODEL,
    PRIVATE,
    Context,
    Tab,
    buttons,
    failure,
    finally_restore,
    loading,
    running,
    status,
    status_line,
    stopper,
)
from .report import downloads

AGE = "age_group"
_SENSITIVE = {f.key for f in FIELDS if f.sensitive}


def fields(sensitive: bool) -> tuple[Field, ...]:
    """The fields that may be shown, in reading order."""
    return tuple(f for f in FIELDS if sensitive or not f.sensitive)


def allowed(profile: Mapping, sensitive: bool) -> dict:
    """A profile's dict without the fields that are switched off."""
    out = dict(profile)
    out["fields"] = {k: v for k, v in profile["fields"].items() if sensitive or k not in _SENSITIVE}
    return out


def series(profiles: Mapping[str, Mapping], key: str) -> dict[str, Mapping[str, float]]:
    """which -> {label: probability} of one field, for the models that have it."""
    return {which: p["fields"][key]["probabilities"] for which, p in profiles.items() if key in p["fields"]}


def show(profiles: Mapping[str, Mapping], sensitive: bool) -> str:
    """The plots: age as a distribution over its whole width, the rest as bars."""
    if not profiles:
        return ""
    parts = []
    for field in fields(sensitive):
        values = series(profiles, field.key)
        if not values:
            continue
        labels = list(next(iter(values.values())))
        parts.append((plots.columns if field.key == AGE else plots.bars)(field.title, labels, values))
    calibrated = all(p.get("calibrated") for p in profiles.values())
    note = (
        "Probabilities are calibrated: of the answers given with 70 %, about 70 % were right on faces set aside."
        if calibrated
        else "Not calibrated for this model: read the order, not the numbers."
    )
    age, rest = parts[:1], parts[1:]
    return (
        f'<div class="profile">{plots.legend(list(profiles))}{"".join(age)}<div class="fields">{"".join(rest)}</div>'
        f'<p class="small">{note}</p></div>'
    )


def tables(profiles: Mapping[str, Mapping], sensitive: bool) -> str:
    """The same numbers as one table."""
    rows = []
    for field in fields(sensitive):
        values = series(profiles, field.key)
        for label in next(iter(values.values()), {}):
            rows.append([f"{field.title}: {label}", *(f"{100 * v.get(label, 0):.1f} %" for v in values.values())])
    if not rows:
        return '<p class="empty small">Nothing measured yet.</p>'
    return plots.table("Probability of every label", ["Field", *(texts.WHICH[w] for w in profiles)], rows)


def measure(ctx: Context, session: str, whole: bool, slot: str = "profile") -> Iterator[tuple[dict, str]]:
    """Yields (profiles so far, status); all models that there are, in one pass."""
    ticket = ctx.runs.get(session, slot)
    profiles: dict[str, dict] = {}
    try:
        photo = ctx.photos.get(session)
        if photo is None:
            raise FaceLLMError(texts.PHOTO_FIRST)
        for line in loading(ctx.host, ticket):
            yield profiles, line
        if ticket.cancel.is_set():
            yield profiles, status(texts.STOPPED)
            return
        yield profiles, status("Scoring every label…", "busy")
        started = time.monotonic()
        measured = ctx.host.profiles(photo.seen(whole))
        if ticket.discarded:
            return
        profiles = {which: allowed(p, ctx.sensitive) for which, p in measured.items()}
        yield profiles, status(f"Measured in {time.monotonic() - started:.1f} s.")
    except Exception as error:  # whatever fails must end as a sentence with working buttons (worker.sentence)
        if not ticket.discarded:
            yield profiles, failure(error)
    finally:
        ctx.runs.done(session, slot, ticket)


def build(ctx: Context, parameters: list) -> Tab:
    """The tab."""
    with gr.Row(elem_classes="toolbar"):
        gr.HTML(
            "<p>How likely is each label? The model scores them all; nothing is drawn at random.</p>",
            elem_classes="lead",
        )
        go, stop = buttons("profile", "Measure the profile")
    line = status_line("profile")
    shown = gr.HTML("", elem_id="profile-plots")
    saved = gr.HTML("", elem_id="profile-download")
    with gr.Accordion("As a table", open=False, elem_id="profile-table-box"):
        table = gr.HTML(tables({}, ctx.sensitive), elem_id="profile-table")

    def begin(request: gr.Request):
        if ctx.photos.get(request.session_hash) is None:
            return status(texts.PHOTO_FIRST, "bad"), *running(False)
        ctx.runs.take(request.session_hash, "profile")
        return status(texts.WAITING, "busy"), *running(True)

    def run(request: gr.Request, *raw):
        session = request.session_hash
        if ctx.photos.get(session) is None:
            return
        try:
            whole = settings.read(*raw).whole
        except FaceLLMError as error:
            yield failure(error), gr.skip(), gr.skip(), gr.skip()
            return
        for profiles, said in measure(ctx, session, whole):
            if not profiles:
                yield said, gr.skip(), gr.skip(), gr.skip()
                continue
            text = json.dumps(profiles, indent=2, ensure_ascii=False)
            file = ("JSON", "facellm-profile.json", "application/json", text)
            yield (
                said,
                show(profiles, ctx.sensitive),
                tables(profiles, ctx.sensitive),
                downloads("Download the profile", [file]) if "busy" not in said else "",
            )

    outputs = [line, shown, table, saved]
    event = go.click(begin, None, [line, go, stop], queue=False, **PRIVATE).then(
        run,
        parameters,
        outputs,
        show_progress="minimal",
        show_progress_on=[line],
        api_visibility="private",
        **MODEL,
    )
    finally_restore(ctx, "profile", event, line, [go, stop], running)
    stop.click(stopper(ctx, "profile"), None, None, queue=False, **PRIVATE)

    def cleared() -> tuple:
        return "", "", tables({}, ctx.sensitive), ""

    return Tab("profile", outputs, cleared)
