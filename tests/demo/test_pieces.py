"""The tabs' own functions, without a browser: conversations, pairs, reports, settings, tickets, photos, the host."""

from __future__ import annotations

import random
import re
import time
from types import SimpleNamespace

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image

from demo import api, layout
from demo.page import texts
from demo.page.components import Line, variant_choices
from demo.page.render import percent
from demo.runtime import jobs, parameters
from demo.runtime.context import Context
from demo.runtime.host import Host, Status
from demo.runtime.options import Options
from demo.runtime.photos import EXAMPLES, Photos, choose_face, read_photo
from demo.runtime.sentences import sentence
from demo.runtime.streaming import Cell, fill
from demo.runtime.tickets import Runs, Ticket
from demo.runtime.usable import usable
from demo.tabs import about, attributes, chat, compare, photo, profile, report, rounds, settings
from demo.tabs.conversation import Turn, answered, history, messages, position
from demo.votes import Votes
from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from facellm.weights.registry import MODELS


@pytest.fixture(scope="module")
def collins():
    return read_photo(EXAMPLES / "collins.jpg")


@pytest.fixture(scope="module")
def host(model):
    """A host that already has the tiny model."""
    made = Host(Options())
    made._model = model
    made._settled.set()
    return made


def stand_in(variants=("base", "facellm"), **card) -> Host:
    """A host whose model can say what it is, and no more."""
    made = Host(Options())
    made._model = SimpleNamespace(variants=variants, report=SimpleNamespace(to_dict=lambda: card))
    made._settled.set()
    return made


def context(host: Host, votes: Votes | None = None) -> Context:
    return Context(Options(), host, votes or Votes(None))


# -- chat ---------------------------------------------------------------------------------------------------------


TURNS = (Turn("a", variant="base", text="b\n\nc", state="done"), Turn("d", "D", "facellm", "", "broken"), Turn("e"))


def test_a_conversation_is_shown_with_whose_answer_it_is_and_goes_to_the_model_without_it():
    shown = messages(TURNS)
    assert [m["role"] for m in shown] == ["user", "assistant", "user", "assistant", "user"]
    assert shown[1]["content"] == "**Base model**\n\nb\n\nc" and shown[2]["content"] == "D"
    assert texts.BROKEN in shown[3]["content"]
    assert history(TURNS) == (("a", "b\n\nc"),), "what has no usable answer is no turn"
    assert len(history((Turn("a", variant="base", text="b"),) * 50)) == parameters.MAX_TURNS


def test_a_message_belongs_to_its_turn():
    assert [position(TURNS, i) for i in range(-1, 6)] == [None, 0, 0, 1, 1, 2, None] and position(TURNS, [3, 0]) == 1


def test_an_answer_keeps_what_was_asked():
    turn = answered(Turn("q", "said", attempt=2), Cell("base", "q", text="t", state="length"))
    assert turn == Turn("q", "said", "base", "t", "length", 2)


def test_a_like_counts_for_the_model_of_that_answer_and_taking_it_back_is_no_dislike(tmp_path):
    import sqlite3

    votes = Votes(tmp_path / "votes.sqlite3")
    ctx = context(stand_in(name="nano"), votes)
    for index, liked in ((1, True), ([3, 0], False)):
        assert "Thank you" in chat.like(ctx, TURNS, index, liked).text
    for index, liked in ((1, ""), (1, None), (4, True), (9, True)):
        assert chat.like(ctx, TURNS, index, liked) is None
    rows = sqlite3.connect(votes.path).execute("SELECT variant, liked, model FROM likes").fetchall()
    assert rows == [("base", 1, "nano"), ("facellm", 0, "nano")]


def test_an_answer_asked_for_again_may_come_in_other_words():
    assert chat.asking(0) == parameters.read()
    again = chat.asking(2, "", 256, 0, 1, parameters.SEED_LIMIT)
    assert again.temperature == parameters.RETRY_TEMPERATURE and again.seed == 2


# -- what can be shown --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "…?!",
        '{"age": 30}',
        "```json",
        'The face {"age": 30, "gender"',
        "the the the the the the",
        "a very round face, a very round face, a very round face, a very round face",
    ],
)
def test_broken_text_is_no_answer(text):
    assert not usable(text)


@pytest.mark.parametrize(
    "text", ["Yes.", "4", "It is very, very bright.", "The nose, the mouth and the chin [all] {fit}."]
)
def test_plain_text_is_an_answer(text):
    assert usable(text)


def test_json_that_was_asked_for_is_an_answer():
    assert usable('{"age": 30}', "Answer as JSON: how old?")


# -- compare ------------------------------------------------------------------------------------------------------


def test_marks_are_the_words_that_one_side_says():
    pieces = rounds.marked("The big <nose> is wide open.", "the nose is closed")
    assert [words for words, mine in pieces if mine] == ["big", "wide open"]


@examples(deadline=None)
@given(st.text(max_size=80), st.text(max_size=80))
def test_marks_change_no_word(text, other):
    assert "".join(words for words, _ in rounds.marked(text, other)) == text
    assert not any(mine for _, mine in rounds.marked(text, text))


def test_a_side_shows_its_words_as_they_are():
    pair = rounds.make_round("pose", "", False, True).pairs[0]
    pair.cells["base"] = Cell("base", "q", text="The <nose> is big.\n\nSo.", state="done")
    pair.cells["facellm"] = Cell("facellm", "q", text="The nose is small.", state="done")
    html = compare.show(rounds.Round([pair], False))
    assert "The &lt;nose&gt; is <mark>big</mark>." in html and html.count("<mark>") == 4


def test_blind_rounds_shuffle_and_hide_until_the_vote():
    lefts = {rounds.make_round("pose", "", True, True, random.Random(i)).pairs[0].left for i in range(20)}
    assert lefts == {"base", "facellm"}
    assert all(p.left == "base" for p in rounds.make_round("all", "", False, True).pairs)
    blind = rounds.make_round("pose", "", True, True)
    for cell in blind.pairs[0].cells.values():
        cell.state, cell.text = "done", f"words of {cell.variant}"
    html = compare.show(blind)
    assert "Base model" not in html and "tokens/s" not in html and blind.open_vote is blind.pairs[0]
    blind.pairs[0].vote = "tie"
    assert "Base model" in compare.show(blind) and blind.open_vote is None
    stopped = rounds.make_round("pose", "", True, True)
    for cell in stopped.pairs[0].cells.values():
        cell.state = "stopped"
    assert stopped.open_vote is None and "Base model" in compare.show(stopped), "nothing was said: no vote"


def test_questions_respect_the_switch():
    assert len(rounds.questions("all", "", True)) == 8 and len(rounds.questions("all", "", False)) == 6
    with pytest.raises(FaceLLMError, match="switched off"):
        rounds.questions("demographic", "", False)
    with pytest.raises(FaceLLMError, match="Write a question"):
        rounds.questions("own", "  ", True)


def test_one_model_alone_is_asked_by_default_and_cannot_be_compared(collins):
    ctx = context(stand_in(("base",)))
    assert variant_choices(("base",))["choices"] == [("Base model", "base")]
    both = variant_choices(("facellm", "base"))
    assert len(both["choices"]) == 2 and "value" not in both, "what the visitor has chosen stays"
    assert jobs.loaded(ctx.host, "facellm") == "base" and jobs.loaded(stand_in(), "facellm") == "facellm"
    with pytest.raises(FaceLLMError, match="Only one model"):
        jobs.need_both(ctx.host.variants)
    with gr.Blocks():
        api.build(ctx)


# -- settings -----------------------------------------------------------------------------------------------------


@examples(deadline=None)
@given(st.one_of(st.none(), st.text(), st.floats(), st.integers()))
def test_any_value_gives_parameters_or_a_sentence(value):
    for name in ("max_new_tokens", "temperature", "top_p", "seed", "tiles"):
        try:
            made = parameters.read(**{name: value}, look="whole")
        except FaceLLMError as error:
            assert "must be a number" in str(error)
        else:
            assert 1 <= made.max_new_tokens <= 512 and 0 <= made.temperature <= 2 and 0 < made.top_p <= 1


def test_a_seed_out_of_range_reaches_the_sentence_that_says_so():
    with gr.Blocks():
        seed = settings.build()[4]
    with pytest.raises(FaceLLMError, match=r"Seed is -1: .* from 0 to 2147483647\."):
        parameters.read(seed=seed.preprocess(-1))


def test_tiles_count_for_the_whole_photo_only():
    assert parameters.read(tiles=6).tiles == 1 and parameters.read(tiles=6, look="whole").tiles == 6


# -- tickets and photos -------------------------------------------------------------------------------------------


def test_a_stop_pressed_while_waiting_counts_and_a_second_click_replaces_the_first():
    runs = Runs()
    waiting = runs.take("visitor", "chat")
    assert runs.stop("visitor", "chat") is waiting and waiting.cancel.is_set() and not waiting.begun
    assert runs.begin("visitor", "chat", waiting.number) is waiting
    first = runs.take("visitor", "chat")
    assert runs.begin("visitor", "chat", first.number) is first
    assert runs.stop("visitor", "chat") is first and first.cancel.is_set() and not first.discarded
    second = runs.take("visitor", "chat")
    assert first.discarded and not second.cancel.is_set()
    assert runs.begin("visitor", "chat", first.number) is None, "overtaken: its turn in the queue finds nothing to do"
    assert runs.begin("visitor", "chat", second.number) is second
    other = runs.take("another", "chat")
    runs.discard("visitor")
    assert second.discarded and not other.cancel.is_set()
    assert runs.active("another", "chat") and not runs.active("visitor", "chat")
    runs.done(other)
    assert runs.count() == 0


def test_questions_asked_in_mid_answer_wait_for_its_end_and_a_stop_gives_them_back():
    runs = Runs()
    assert runs.follow("visitor", "chat", "b") == [], "nothing runs: it is asked at once"
    ticket = runs.take("visitor", "chat", ("a",))
    for number, question in enumerate("bcd", 1):
        assert len(runs.follow("visitor", "chat", question)) == number
    with pytest.raises(FaceLLMError, match="wait already"):
        runs.follow("visitor", "chat", "e")
    runs.done(ticket)
    after = runs.next(ticket)
    assert after.given == ("a", "b") and after.following == ["c", "d"] and after.begun
    assert runs.stop("visitor", "chat").following == ["c", "d"] and runs.next(after) is None
    assert runs.follow("visitor", "chat", "f") == []


def test_what_is_discarded_ends_as_the_clearing_action_left_the_page(collins):
    """Its last value is sent again at the end; a refused turn changes nothing."""
    ctx = context(stand_in())
    ctx.photos.put("", collins)
    with gr.Blocks():
        job = jobs.Job(ctx, "chat", gr.HTML(), lambda on: {})
    ticket = ctx.runs.take("", "chat")

    def work(ticket, photo):
        yield job.say(Line("writing", "busy"))
        raise FaceLLMError("Broken.")

    steps = list(job.run(ticket, work))
    assert "writing" in steps[0][job.line] and "Broken." in steps[1][job.line] and ctx.runs.count() == 0
    ticket = ctx.runs.take("", "chat")
    job.clear("", {job.line: "New photo"})
    assert ticket.discarded and ticket.left == {job.line: "New photo"}


def test_one_tab_can_be_discarded_alone():
    runs = Runs()
    refused, kept = runs.take("visitor", "profile"), runs.take("visitor", "chat")
    runs.discard("visitor", "profile")
    assert refused.cancel.is_set() and not runs.active("visitor", "profile")
    assert not kept.cancel.is_set() and runs.active("visitor", "chat")
    runs.discard("visitor", "profile")


def test_photos_are_kept_apart_bounded_and_forgotten(collins):
    photos = Photos(forget_after=60, most=2)
    for name in "abc":
        photos.put(name, collins)
    assert photos.get("a") is None and photos.get("c") is collins and photos.count() == 2
    photos.drop("c")
    assert photos.get("c") is None
    assert photos.sweep() == {"a"} and photos.sweep() == set(), "dropped is not forgotten: its page is told or closed"
    photos._forget_after = -1  # everything is too old
    assert photos.get("b") is None and photos.sweep() == {"b"} and photos.count() == 0


def test_examples_are_credited_portraits_groups_and_one_without_a_face():
    credits = (EXAMPLES / "CREDITS.md").read_text()
    assert all(f"`{name}`" in credits for name in photo.PORTRAITS)
    faces = [len(read_photo(EXAMPLES / name).view.faces) for name in photo.PORTRAITS]
    assert faces.count(1) >= 6 and faces.count(0) == 1 and max(faces) == 4


def test_choosing_a_face_changes_the_crop_and_nothing_else():
    two = read_photo(EXAMPLES / "two.jpg")
    other = choose_face(two, 1)
    assert other.ident != two.ident and other.face_index == 1 and other.source is two.source
    assert choose_face(other, 0).ident == two.ident, "a conversation is about a photo and one of its faces"
    with pytest.raises(FaceLLMError, match="no face 3"):
        choose_face(two, 2)
    assert photo.stage(two).count('aria-pressed="true"') == 1


def test_faces_are_numbered_from_left_to_right():
    two = read_photo(EXAMPLES / "two.jpg")
    shown = photo.boxes(two)
    assert [box.number for box in shown] == [1, 2] and shown[0].left < shown[1].left
    assert {box.index for box in shown} == {0, 1} and [box.index for box in shown if box.chosen] == [0]
    whole = photo.stage(two, whole=True)
    assert "whole photo" in whole and "is chosen" not in whole and "crop" not in whole and "data-face" not in whole


def test_a_photo_without_a_face_is_used_whole():
    grey = read_photo(Image.new("RGB", (300, 200), "grey"))
    assert grey.view.face is None and grey.view.image.size == (300, 200)
    assert "No face found" in photo.stage(grey)


@pytest.mark.parametrize("tab", [chat, attributes, compare, profile])
def test_another_photo_brings_the_buttons_back(tab):
    """In a tab that still waits for its turn, too."""
    with gr.Blocks():
        built = tab.build(context(stand_in()), settings.build())
    buttons = {b: v for b, v in built.cleared().items() if isinstance(b, gr.Button)}
    shown = {b.elem_id: v["visible"] for b, v in buttons.items() if "visible" in v}
    assert not shown.pop("profile-everyone", False), "only where there are several faces"
    assert shown == ({} if tab is chat else {f"{built.name}-go": True, f"{built.name}-stop": False})
    asks = [v for b, v in buttons.items() if b.elem_id.startswith("ask-")]
    assert [(v["value"], v["interactive"]) for v in asks] == [("Ask", True)] * (8 if tab is attributes else 0)


def test_a_link_opens_what_the_operator_allows():
    tab, attribute = layout.open_link({"tab": "compare", "attribute": "expression"}, True)
    assert tab == "compare" and attribute.key == "expression"
    assert layout.open_link({"tab": "about", "attribute": "expression"}, False) == ("about", None)
    assert layout.open_link({"tab": "x", "attribute": "y"}, True) == (None, None)


# -- streaming ----------------------------------------------------------------------------------------------------


def test_cells_fill_to_what_the_model_says(host, model, collins):
    few = parameters.read(max_new_tokens=6)
    cells = [Cell("facellm", a.question, a.key) for a in ATTRIBUTES]
    rounds = list(fill(host, collins.view, cells, few, Ticket(), every=0))
    assert len(rounds) > 3 and all(c.finished for c in cells)
    answers = model.describe(collins.view, max_new_tokens=6)
    assert [c.text for c in cells] == [a.text if usable(a.text) else "" for a in answers.answers]


def test_closing_and_cancelling_stop_the_model(host, model, collins):
    ticket = Ticket()
    cells = [Cell("facellm", "Describe this image.")]
    stream = fill(host, collins.view, cells, parameters.read(max_new_tokens=512), ticket, every=0)
    next(stream)
    stream.close()
    assert ticket.cancel.is_set() and not model.engine.lock.locked()
    stopped = Ticket()
    stopped.cancel.set()
    (last,) = list(fill(host, collins.view, cells, parameters.read(max_new_tokens=512), stopped, every=60))[-1:]
    assert last[0].state == "stopped"


# -- report, profile, about ---------------------------------------------------------------------------------------


def finished(text="A <b>face</b>.\n\nSecond."):
    return Cell("facellm", ATTRIBUTES[5].question, "pose", text=text, state="done", tokens=4, seconds=1.0, rate=4.0)


def test_report_escapes_and_holds_its_picture(collins):
    made = report.to_dict([finished(), Cell("facellm", "unfinished")], collins, {"name": "nano"})
    assert len(made["answers"]) == 1 and made["photo"]["faces"] == 1
    page = report.to_html(made, collins)
    assert "<b>face</b>" not in page and "&lt;b&gt;" in page and "data:image/jpeg;base64," in page
    assert "http" not in page.replace("charset", "")
    assert report.links([Cell("facellm", "x")], collins, {}) == ""


def test_report_tells_how_each_answer_was_made(collins):
    cell = finished()
    assert "The face that was described" in report.to_html(report.to_dict([cell], collins, {}), collins)
    cell.parameters = parameters.read(look="whole", tiles=6, temperature=0.7, seed=3)
    made = report.to_dict([cell], collins, {})
    answer = made["answers"][0]
    assert [answer[k] for k in ("look", "tiles", "temperature", "seed")] == ["whole", 6, 0.7, 3]
    page = report.to_html(made, collins)
    assert "The face that was described" not in page
    assert "whole photo in up to 6 tiles, temperature 0.7, seed 3, 4 tokens" in page
    foot = attributes.foot(cell)
    assert foot.count("FaceLLM · 1.0 s") == 1 and foot.index("<details") < foot.index("4 tokens · 4 tokens/s")


def measured(**changes):
    one = {"variant": "facellm", "calibrated": True, "face": {"box": [0, 0, 1, 1]}, **changes}
    return {**one, "fields": {"gender": {"probabilities": {"Male": 0.3, "Female": 0.7}}}}


def test_profile_claims_calibration_for_crops_of_faces_only():
    notes = [
        profile.show({"facellm": profile.allowed(measured(**changes), True)})
        for changes in ({}, {"calibrated": False}, {"face": None})
    ]
    assert "are calibrated" in notes[0] and "for this model" in notes[1] and "whole photos" in notes[2]
    assert profile.allowed(measured(face=None), True)["calibrated"] is False


def test_profile_shows_each_field_once_per_model(host, collins):
    measured = host.profiles(collins.view)
    shown = profile.show(measured)
    assert shown.count("<h3>") == len(profile.FIELDS) and "Not calibrated" in shown
    muted = {w: profile.allowed(p, False) for w, p in measured.items()}
    assert "ethnicity" not in muted["base"]["fields"] and "Ethnicity" not in profile.show(muted)
    assert profile.tables(muted).count("<tr>") > 10


def test_small_probabilities_are_not_shown_as_nothing():
    assert percent(0.0) == "0 %" and percent(0.001) == "<1 %" and percent(0.126) == "13 %"


def test_about_shows_the_card_without_machine_paths(host):
    html = about.model_card(host.card(), "")
    assert "MiB" in html and "/tmp" not in html
    assert "still" in about.model_card({}, "still loading")


def test_no_path_of_this_machine_is_in_the_card():
    card = stand_in(
        name="/srv/models/face",
        base="/var/cache/hub/models--OpenGVLab--InternVL3-8B-hf/snapshots/0a1b",
        facellm="C:\\models\\lora",
        device="cuda",
        memory_bytes=7,
        reason="it is served at http://127.0.0.1:8000/v1 and/or asked for",
        notes=["the base of /srv/models/face is opened without a FaceLLM: see /srv/log."],
    ).card()
    assert card["name"] == "face" and card["base"] == "OpenGVLab/InternVL3-8B-hf" and card["facellm"] == "lora"
    assert card["reason"] == "it is served at http://127.0.0.1:8000/v1 and/or asked for" and card["memory_bytes"] == 7
    assert card["notes"] == ["the base of face is opened without a FaceLLM: see log."]
    assert Host(Options()).card() == {}


def test_about_speaks_of_the_loaded_model(tmp_path, monkeypatch):
    """Its figures are the ones beside its own weights; a model without such says where to get them."""
    mine = MODELS["nano"].__class__("mine", str(tmp_path), adapter="here", decoder=150_000_000, other=7_000_000)
    monkeypatch.setitem(MODELS, "mine", mine)
    card, path = {"name": "mine"}, tmp_path / "results.json"
    assert "python -m train evaluate" in about.figures(card) and "FaceLLM-mine" in about.figures(card)
    path.write_text('{"rows": [{"metric": "gender <b>", "facellm": "91.0 %", "base": 0.54321}, {"metric": "age"}]}')
    html = about.figures(card)
    assert "91.0 %" in html and "0.543" in html and "gender &lt;b&gt;" in html and html.count("—") == 2
    path.write_text("not json")
    assert "python -m train evaluate" in about.figures(card)
    assert "python -m train evaluate" in about.figures({"name": "/some/folder"})
    first = about.introduction(card)
    assert "<b>FaceLLM-mine</b>, 157 million parameters, made here; not the paper’s 38B" in first
    assert "billion parameters" in about.introduction({"name": "8b"}) and "made here" not in about.introduction(
        {"name": "8b"}
    )
    assert first.count("<a href=") == 2 and "Model card" in first


# -- host ---------------------------------------------------------------------------------------------------------


def test_waiting_ends_when_the_visitor_stops():
    host = Host(Options())
    host._state = Status("loading", "Reading the weights", 3)
    ticket = Ticket()
    waiting = jobs.loading(host, ticket)
    assert "step 3" in next(waiting).text
    ticket.cancel.set()
    with pytest.raises(jobs.Stopped):
        next(waiting)


def test_ticking_seconds_are_outside_what_a_screen_reader_announces():
    host = Host(Options())
    host._state, host._since = Status("loading", "Reading the weights", 3, 4), time.monotonic() - 12
    line = next(jobs.loading(host, Ticket())).html()
    for html in (line, layout.pill(host.status, {})):
        (said,) = re.findall(r'role="status">([^<]*)<', html)
        assert "eading the weights" in said and "12 s" not in said and "12 s" in html


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OutOfMemoryError("CUDA"), "ran out of memory"),
        (KeyError("x"), "reference"),
        (FaceLLMError("Do this."), "Do this"),
    ],
)
def test_errors_are_sentences(error, says):
    assert says in sentence(error) and "Traceback" not in sentence(error)
