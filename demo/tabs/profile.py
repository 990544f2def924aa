"""Profile: calibrated probabilities of age group, gender and the other fields, base and FaceLLM overlaid."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping

import gradio as gr

from demo.page import texts
from demo.page.components import Line, Tab, Updates, buttons, running, status_line
from demo.page.downloads import downloads
from demo.page.plots import Plot, table
from demo.page.render import render
from demo.runtime import parameters
from demo.runtime.context import Context
from demo.runtime.jobs import Job, Stopped
from demo.runtime.photos import Photo
from demo.runtime.tickets import Ticket
from facellm.profile import FIELDS

Profiles = Mapping[str, Mapping]  # variant -> a profile as a dict

AGE = next(f.title for f in FIELDS if f.key == "age_group")
_SENSITIVE = {f.key for f in FIELDS if f.sensitive}
_CALIBRATED = "Probabilities are calibrated: of the answers given with 70 %, about 70 % were right on faces set aside."
_THIS_MODEL = "Not calibrated for this model: read the order, not the numbers."
_WHOLE = "Not calibrated for whole photos and photos without a face: read the order, not the numbers."


def allowed(profile: Mapping, sensitive: bool) -> dict:
    """A profile's dict without the fields that are switched off.

    It is calibrated only where it is about a face's crop: temperatures were fitted on such.
    """
    out = dict(profile)
    out["calibrated"] = bool(profile.get("calibrated") and profile.get("face"))
    out["fields"] = {k: v for k, v in profile["fields"].items() if sensitive or k not in _SENSITIVE}
    return out


def plots(profiles: Profiles) -> list[Plot]:
    """One plot a field, in reading order."""
    made = []
    for field in FIELDS:
        series = {v: p["fields"][field.key]["probabilities"] for v, p in profiles.items() if field.key in p["fields"]}
        if series:
            made.append(Plot(field.title, list(next(iter(series.values()))), series))
    return made


def show(profiles: Profiles) -> str:
    """The plots: age as a distribution over its whole width, the rest as bars; a hint where nothing was measured."""
    if all(p.get("calibrated") for p in profiles.values()):
        note = _CALIBRATED
    else:
        note = _THIS_MODEL if all(p.get("face") for p in profiles.values()) else _WHOLE
    names = {variant: texts.VARIANTS[variant] for variant in profiles}
    return render("profile", plots=plots(profiles), age=AGE, names=names, note=note)


def tables(profiles: Profiles) -> str:
    """The same numbers as one table."""
    rows = [
        [f"{plot.title}: {label}", *(f"{100 * values.get(label, 0):.1f} %" for values in plot.series.values())]
        for plot in plots(profiles)
        for label in plot.labels
    ]
    if not rows:
        return '<p class="empty small">Nothing measured yet.</p>'
    return table("Probability of every label", ["Field", *(texts.VARIANTS[v] for v in profiles)], rows)


def build(ctx: Context, settings: list) -> Tab:
    """The tab.  settings: the components whose values `parameters.read` takes."""
    with gr.Row(elem_classes="toolbar"):
        gr.HTML(
            "<p>How likely is each label? The model scores them all; nothing is drawn at random.</p>",
            elem_classes="lead",
        )
        go, stop = buttons("profile", "Measure the profile")
    line = status_line("profile")
    shown = gr.HTML(show({}), elem_id="profile-plots")
    saved = gr.HTML("", elem_id="profile-download")
    with gr.Accordion("As a table", open=False, elem_id="profile-table-box"):
        listed = gr.HTML(tables({}), elem_id="profile-table")
    job = Job(ctx, "profile", line, lambda on: running(go, stop, on))

    def begin(request: gr.Request) -> Updates:
        return job.admit(request.session_hash)

    def work(ticket: Ticket, photo: Photo, *raw) -> Iterator[Updates]:
        whole = parameters.read(*raw).whole
        yield from job.loading(ticket)
        yield job.say(Line("Scoring every label…", "busy"))
        started = time.monotonic()
        measured = ctx.host.profiles(photo.seen(whole))
        if ticket.cancel.is_set():  # scoring is one pass, which nothing ends early
            raise Stopped
        profiles = {variant: allowed(p, ctx.sensitive) for variant, p in measured.items()}
        text = json.dumps(profiles, indent=2, ensure_ascii=False)
        yield {
            **job.say(Line(f"Measured in {time.monotonic() - started:.1f} s.")),
            shown: show(profiles),
            listed: tables(profiles),
            saved: downloads("Download the profile", [("JSON", "facellm-profile.json", "application/json", text)]),
        }

    job.start([(go.click, begin)], [], [], work, settings, [shown, listed, saved])
    job.stop(stop.click)

    def cleared() -> Updates:
        return {line: "", shown: show({}), listed: tables({}), saved: "", **job.looks(False)}

    return Tab("profile", line, cleared)
