"""Profile: calibrated probabilities of age group, gender and the other fields, base and FaceLLM overlaid."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import gradio as gr

from demo.page import texts
from demo.page.components import Line, Tab, Updates, buttons, came_from, running, status_line
from demo.page.downloads import csv_text, downloads
from demo.page.plots import Plot, table
from demo.page.render import render
from demo.runtime import parameters, spaces
from demo.runtime.context import Context
from demo.runtime.jobs import Job, Stopped
from demo.runtime.photos import Photo
from demo.runtime.tickets import Ticket
from demo.tabs import choices
from demo.tabs.people import Person, everybody, person
from demo.tabs.people import show as show_people
from facellm.errors import FaceLLMError
from facellm.profile import KNOWN_FIELDS
from facellm.typed.question import Choice

Profiles = Mapping[str, Mapping]  # variant -> a profile as a dict
EVERYBODY = object()  # what a ticket is given where all faces are to be measured

_ON_PERSON = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-person]');
  if (button) trigger('face', {face: button.dataset.person});
});
"""

AGE = next(f.title for f in KNOWN_FIELDS if f.key == "age_group")
_SENSITIVE = {f.key for f in KNOWN_FIELDS if f.sensitive}
_CALIBRATED = "Probabilities are calibrated: of the answers given with 70 %, about 70 % were right on faces set aside."
_THIS_MODEL = "Not calibrated for this model: read the order, not the numbers."
_WHOLE = "Not calibrated for whole photos and photos without a face: read the order, not the numbers."


@dataclass
class ProfileTab(Tab):
    """crowd: The table of all faces; its event "face" opens one."""

    crowd: gr.HTML


def allowed(profile: Mapping, sensitive: bool) -> dict:
    """A profile's dict without the fields that are switched off.

    It is calibrated only where it is about a face's crop: temperatures were fitted on such.
    """
    out = dict(profile)
    out["calibrated"] = bool(profile.get("calibrated") and profile.get("face"))
    out["fields"] = {k: v for k, v in profile["fields"].items() if sensitive or k not in _SENSITIVE}
    return out


def profile_of(ctx: Context, photo: Photo, whole: bool) -> tuple:
    """Where a photo keeps the profile of its chosen face by the visitor's model."""
    return "profile", ctx.host.options.model, photo.face_index, whole


def measure(ctx: Context, photo: Photo, whole: bool, variants: Sequence[str] | None = None) -> dict[str, dict]:
    """The profile of a photo's chosen face by each model, measured once: all tabs say the same of a face.

    Args:
        ctx: The page's.
        photo: Whose face.
        whole: Whether the whole photo is looked at.
        variants: The models; all there are for None.

    Returns:
        variant -> its profile, without the fields that are switched off.

    Raises:
        FaceLLMError: The model is not there, or cannot score labels.
    """
    wanted = tuple(variants or ctx.host.variants)
    key = profile_of(ctx, photo, whole)
    known: dict[str, dict] = photo.known.get(key, {})
    if missing := [v for v in wanted if v not in known]:
        measured = ctx.host.profiles(photo.seen(whole), missing)
        known = {**known, **{v: allowed(p, ctx.sensitive) for v, p in measured.items()}}
        photo.known[key] = known
    return {v: known[v] for v in wanted}


def truth(ctx: Context, photo: Photo, whole: bool) -> Mapping | None:
    """The calibrated profile that claims about a face are held against; None where there is none."""
    if whole or photo.view.face is None or spaces.ZERO:  # where it would cost a lease of its own
        return None
    try:
        profile = measure(ctx, photo, False, ctx.host.variants[:1])[ctx.host.variants[0]]
    except FaceLLMError:  # a server that cannot tell how likely a label is
        return None
    return profile if profile["calibrated"] else None


def plots(profiles: Profiles) -> list[Plot]:
    """One plot a field, in reading order."""
    made = []
    for field in KNOWN_FIELDS:
        series = {v: p["fields"][field.key]["probabilities"] for v, p in profiles.items() if field.key in p["fields"]}
        if series:
            made.append(Plot(field.title, list(next(iter(series.values()))), series, field.key))
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


def own_answers(found: Mapping[str, Choice]) -> str:
    """The bars of a question that the visitor wrote, base beside FaceLLM.  found: variant -> its choice."""
    first = next(iter(found.values()))
    plot = Plot(first.ask, list(first.probabilities), {v: choice.probabilities for v, choice in found.items()})
    calibrated = all(choice.calibrated for choice in found.values())
    return render("own_answers", plot=plot, names={v: texts.VARIANTS[v] for v in found}, calibrated=calibrated)


def links(profiles: Profiles) -> str:
    """The profiles as files."""
    rows = [
        [texts.VARIANTS[variant], plot.title, label, f"{values.get(label, 0):.6f}"]
        for plot in plots(profiles)
        for label in plot.labels
        for variant, values in plot.series.items()
    ]
    sheet = csv_text(["model", "field", "label", "probability"], rows)
    whole = json.dumps(profiles, indent=2, ensure_ascii=False)
    files = [("JSON", "facellm-profile.json", "application/json", whole)]
    return downloads("Download the profile", [*files, ("CSV", "facellm-profile.csv", "text/csv", sheet)])


def build(ctx: Context, settings: list) -> ProfileTab:
    """The tab.  settings: the components whose values `parameters.read` takes."""
    with gr.Row(elem_classes="toolbar"):
        gr.HTML(
            "<p>How likely is each label? The model scores them all; nothing is drawn at random.</p>",
            elem_classes="lead",
        )
        go, stop = buttons("profile", "Measure the profile")
        everyone = gr.Button("Measure all faces", elem_id="profile-everyone", min_width=120)
    line = status_line("profile")
    crowd = gr.HTML("", elem_id="profile-people", js_on_load=_ON_PERSON)
    shown = gr.HTML(show({}), elem_id="profile-plots")
    saved = gr.HTML("", elem_id="profile-download")
    with gr.Accordion("As a table", open=False, elem_id="profile-table-box"):
        listed = gr.HTML(tables({}), elem_id="profile-table")
    with gr.Column(elem_id="own-options", elem_classes="card"):
        gr.HTML(render("options_head"), elem_classes="card-head")
        with gr.Row(elem_classes="toolbar"):
            own = gr.Textbox(
                label="Your question",
                placeholder="Does the person wear a tie?",
                max_length=parameters.MAX_QUESTION,
                elem_id="options-question",
                min_width=220,
            )
            options = gr.Textbox(
                label="Answers to choose from", placeholder="yes, no", elem_id="options-answers", min_width=160
            )
            score = gr.Button("How likely?", elem_id="options-go", min_width=120)
        scored = gr.HTML("", elem_id="options-scored")

    def looks(on: bool) -> Updates:
        free = gr.update(interactive=not on)
        return {**running(go, stop, on), everyone: free, score: gr.update(interactive=not on)}

    job = Job(ctx, "profile", line, looks)

    def begin(own_: str, options_: str, request: gr.Request, event: gr.EventData) -> Updates:
        if came_from(event, go):
            return job.admit(request.session_hash)
        if came_from(event, everyone):
            return job.admit(request.session_hash, EVERYBODY)
        return job.admit(request.session_hash, choices.read(own_, options_, ctx.sensitive))

    def work(ticket: Ticket, photo: Photo, *raw) -> Iterator[Updates]:
        whole = parameters.read(*raw).whole
        yield from job.loading(ticket)
        if ticket.given is EVERYBODY:
            yield from measure_everybody(ticket, photo)
            return
        if ticket.given is not None:
            yield from score_options(ticket, photo, whole)
            return
        yield job.say(Line("Scoring every label…", "busy"))
        started = time.monotonic()
        profiles = measure(ctx.at(ticket.session), photo, whole)
        if ticket.cancel.is_set():  # scoring is one pass, which nothing ends early
            raise Stopped
        yield {
            **job.say(Line(f"Measured in {time.monotonic() - started:.1f} s.")),
            shown: show(profiles),
            listed: tables(profiles),
            saved: links(profiles),
        }

    def measure_everybody(ticket: Ticket, photo: Photo) -> Iterator[Updates]:
        people: list[Person] = []
        faces = everybody(photo)
        calibrated, here = True, ctx.at(ticket.session)
        for number, face in enumerate(faces, 1):
            yield job.say(Line(f"Measuring face {number} of {len(faces)}…", "busy"))
            profile = measure(here, face, False, here.host.variants[:1])[here.host.variants[0]]
            if ticket.cancel.is_set():
                raise Stopped
            people.append(person(face, number, profile))
            calibrated &= profile["calibrated"]
            photo.known["people", here.host.options.model] = people, calibrated
            yield {crowd: show_people(people, photo.face_index, calibrated)}
        yield job.say(Line(f"{len(people)} faces measured."))

    def score_options(ticket: Ticket, photo: Photo, whole: bool) -> Iterator[Updates]:
        yield job.say(Line("Scoring your answers…", "busy"))
        found = ctx.at(ticket.session).host.choose(photo.seen(whole), ticket.given)
        if ticket.cancel.is_set():
            raise Stopped
        yield {**job.say(Line("Your answers are scored.")), scored: own_answers(found)}

    every = [shown, listed, saved, crowd, scored]
    events = [(event, begin) for event in (go.click, everyone.click, score.click, options.submit)]
    job.start(events, [own, options], [], work, settings, every)
    job.stop(stop.click)

    def cleared() -> Updates:
        empty = {line: "", shown: show({}), listed: tables({}), saved: "", scored: "", crowd: ""}
        return {**empty, **job.looks(False)}

    def restored(photo: Photo, here: Context) -> Updates:
        profiles = photo.known.get(profile_of(here, photo, False), {})
        people, calibrated = photo.known.get(("people", here.host.options.model), ([], True))
        updates = {
            crowd: show_people(people, photo.face_index, calibrated),
        }
        if profiles:
            updates |= {shown: show(profiles), listed: tables(profiles), saved: links(profiles)}
        return updates

    return ProfileTab("profile", line, cleared, crowd, restored=restored)
