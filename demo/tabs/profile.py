"""Profile: calibrated probabilities of age group, gender and the other fields, base and FaceLLM overlaid.

Input: the visitor's photo. Output: plots, a table, JSON. What this file does not know: how labels are scored or
temperatures fitted (`facellm.profile`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping

import gradio as gr

from demo.page import plots, texts
from demo.runtime.context import PRIVATE, Context, Tab, buttons, running, status, status_line
from demo.runtime.jobs import Job, guarded, loading
from demo.runtime.photos import Photo
from demo.runtime.tickets import Ticket
from demo.tabs import parameters as settings
from demo.tabs.downloads import downloads
from facellm.errors import FaceLLMError
from facellm.profile import FIELDS, Field

AGE = "age_group"
_HINT = (
    '<p class="hint">Age group as a distribution; gender, pose, mouth, eyes, light and more as bars: how likely each '
    "label is, by FaceLLM and by the base model.</p>"
)
_SENSITIVE = {f.key for f in FIELDS if f.sensitive}


def fields(sensitive: bool) -> tuple[Field, ...]:
    """The fields that may be shown, in reading order."""
    return tuple(f for f in FIELDS if sensitive or not f.sensitive)


def allowed(profile: Mapping, sensitive: bool) -> dict:
    """A profile's dict without the fields that are switched off, and calibrated only where it is about a face's crop:
    temperatures were fitted on such."""
    out = dict(profile)
    out["calibrated"] = bool(profile.get("calibrated") and profile.get("face"))
    out["fields"] = {k: v for k, v in profile["fields"].items() if sensitive or k not in _SENSITIVE}
    return out


def series(profiles: Mapping[str, Mapping], key: str) -> dict[str, Mapping[str, float]]:
    """which -> {label: probability} of one field, for the models that have it."""
    return {variant: p["fields"][key]["probabilities"] for variant, p in profiles.items() if key in p["fields"]}


def show(profiles: Mapping[str, Mapping], sensitive: bool) -> str:
    """The plots: age as a distribution over its whole width, the rest as bars."""
    if not profiles:
        return _HINT
    parts = []
    for field in fields(sensitive):
        values = series(profiles, field.key)
        if not values:
            continue
        labels = list(next(iter(values.values())))
        parts.append((plots.columns if field.key == AGE else plots.bars)(field.title, labels, values))
    if all(p.get("calibrated") for p in profiles.values()):
        note = "Probabilities are calibrated: of the answers given with 70 %, about 70 % were right on faces set aside."
    elif all(p.get("face") for p in profiles.values()):
        note = "Not calibrated for this model: read the order, not the numbers."
    else:
        note = "Not calibrated for whole photos and photos without a face: read the order, not the numbers."
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
    return plots.table("Probability of every label", ["Field", *(texts.VARIANTS[w] for w in profiles)], rows)


def profiling(ctx: Context, ticket: Ticket, raw: tuple) -> Iterator[tuple[dict, str]]:
    """Yields (profiles so far, status); all models that there are, in one pass."""

    def work(photo: Photo) -> Iterator[tuple[dict, str]]:
        whole = settings.read(*raw).whole
        for line in loading(ctx.host, ticket):
            yield {}, line
        if ticket.cancel.is_set():
            yield {}, status(texts.STOPPED)
            return
        yield {}, status("Scoring every label…", "busy")
        started = time.monotonic()
        measured = ctx.host.profiles(photo.seen(whole))
        if ticket.cancel.is_set():  # scoring is one pass, which nothing ends early
            yield {}, status(texts.STOPPED)
            return
        profiles = {variant: allowed(p, ctx.sensitive) for variant, p in measured.items()}
        yield profiles, status(f"Measured in {time.monotonic() - started:.1f} s.")

    return guarded(ctx, ticket, work, lambda said: ({}, said))


def build(ctx: Context, parameters: list) -> Tab:
    """The tab."""
    with gr.Row(elem_classes="toolbar"):
        gr.HTML(
            "<p>How likely is each label? The model scores them all; nothing is drawn at random.</p>",
            elem_classes="lead",
        )
        go, stop = buttons("profile", "Measure the profile")
    line = status_line("profile")
    shown = gr.HTML(_HINT, elem_id="profile-plots")
    saved = gr.HTML("", elem_id="profile-download")
    with gr.Accordion("As a table", open=False, elem_id="profile-table-box"):
        table = gr.HTML(tables({}, ctx.sensitive), elem_id="profile-table")

    def begin(request: gr.Request):
        try:
            return *job.admit(request.session_hash), *running(True)
        except FaceLLMError as error:
            return *job.refuse(error), *running(False)

    def run(ticket: Ticket, *raw):
        for profiles, said in profiling(ctx, ticket, raw):
            if not profiles:
                yield said, gr.skip(), gr.skip(), gr.skip()
                continue
            text = json.dumps(profiles, indent=2, ensure_ascii=False)
            file = ("JSON", "facellm-profile.json", "application/json", text)
            links = downloads("Download the profile", [file])
            yield said, show(profiles, ctx.sensitive), tables(profiles, ctx.sensitive), links

    outputs = [line, shown, table, saved]
    job = Job(ctx, "profile", line, [go, stop], running)
    job.queue(go.click(begin, None, [*job.outputs, go, stop], queue=False, **PRIVATE), run, parameters, outputs)
    job.stop(stop.click)

    def cleared() -> tuple:
        return "", _HINT, tables({}, ctx.sensitive), "", *running(False)

    return Tab("profile", [*outputs, go, stop], cleared)
