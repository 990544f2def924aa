"""Turns, marks, blind rounds and links of the tabs, without a browser."""

from __future__ import annotations

import random

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from demo import api, layout
from demo.page import texts
from demo.page.components import HIDDEN, variant_choices
from demo.runtime import jobs, parameters
from demo.runtime.options import Options
from demo.runtime.streaming import Cell
from demo.tabs import attributes, chat, compare, profile, rounds, settings
from demo.tabs.conversation import Turn, answered, history, messages, position
from demo.votes import Votes
from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from tests.demo.stand_ins import context, stand_in

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


def test_questions_to_start_with_are_what_the_model_was_measured_to_answer_well():
    eight = [texts.STARTERS[a.key] for a in ATTRIBUTES]
    assert sorted(chat.starters(context(stand_in()))) == sorted(eight), "nothing was measured: what it was trained on"
    measured = chat.starters(context(stand_in(answers=("glasses", "smiling", "hair", "name", "describe", "beard"))))
    assert list(measured)[:3] == ["Describe the photo", "Is this person smiling?", "Is this person wearing glasses?"]
    assert len(measured) == 5 and all(turn.question == words for words, turn in measured.items())
    everything = chat.starters(context(stand_in(answers=tuple(texts.MEASURED_STARTERS))))
    assert len(everything) == chat.STARTERS
    assert sorted(chat.starters(context(stand_in(answers=("glasses",))))) == sorted(eight), "one alone is too few"


@pytest.mark.parametrize("tab", [chat, attributes, compare, profile])
def test_another_photo_brings_the_buttons_back(tab):
    """In a tab that still waits for its turn, too."""
    with gr.Blocks():
        built = tab.build(context(stand_in()), settings.build())
    buttons = {b: v for b, v in built.cleared().items() if isinstance(b, gr.Button)}
    shown = {b.elem_id: v["visible"] for b, v in buttons.items() if "visible" in v}
    assert shown == ({} if tab is chat else {f"{built.name}-go": True, f"{built.name}-stop": HIDDEN})
    asks = [v for b, v in buttons.items() if b.elem_id.startswith("ask-")]
    assert [(v["value"], v["interactive"]) for v in asks] == [("Ask", True)] * (8 if tab is attributes else 0)


def test_what_comes_and_goes_is_never_taken_out_of_the_page():
    """Gradio may lose a part that is put back by one of two updates in quick succession; one kept hidden is safe."""
    page, _ = layout.build(Options(), stand_in())
    named = [b for b in page.blocks.values() if getattr(b, "elem_id", None)]
    out = {b.elem_id for b in named if b.visible is False}
    assert out <= {"model-pick", "compare-blind"}, "chosen once, by the operator"
    assert {"compare-stop", "chat-variant", "vote", "gate", "stage"} <= {b.elem_id for b in named}
    assert {"compare-stop", "gate", "stage"} <= {b.elem_id for b in named if b.visible == HIDDEN}


def test_a_link_opens_what_the_operator_allows():
    tab, attribute = layout.open_link({"tab": "compare", "attribute": "expression"}, True)
    assert tab == "compare" and attribute.key == "expression"
    assert layout.open_link({"tab": "about", "attribute": "expression"}, False) == ("about", None)
    assert layout.open_link({"tab": "x", "attribute": "y"}, True) == (None, None)
