"""The operator's switch on texts: what is left out, what stays, and that nothing half-written slips through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from facellm.policy import REMOVED, Screen, allowed, attributes, check, visible


def test_switched_on_everything_passes():
    assert attributes(True) == ATTRIBUTES
    assert visible("She is Asian and happy.", True) == "She is Asian and happy."


def test_switched_off_two_attributes_are_gone():
    assert [a.key for a in attributes(False)] == ["structure", "skin", "lighting", "pose", "forensic", "detail"]


@pytest.mark.parametrize(
    "sentence",
    [
        "The person appears to be of East Asian descent.",
        "She is a white woman.",
        "He looks Middle Eastern.",
        "The face shows happiness.",
        "A neutral expression is seen.",
        "The man seems angry.",
        "Her ethnicity is hard to tell.",
    ],
)
def test_sentences_about_ethnicity_or_emotion_are_left_out(sentence):
    shown = visible(f"The head is upright. {sentence} The light is soft.", False)
    assert sentence not in shown
    assert shown == f"The head is upright. The light is soft.\n\n{REMOVED}"


@pytest.mark.parametrize("text", ["Her hair is black and the wall is white.", "The mouth is open.", "A grey scarf."])
def test_other_sentences_stay(text):
    assert visible(text, False) == text and allowed(text, False)


def test_an_unfinished_sentence_is_held_back():
    assert visible("The head is upright. The person looks Ind", False, done=False) == "The head is upright."
    assert visible("The person looks Ind", False, done=False) == ""


@given(
    st.lists(st.sampled_from(["The light is soft. ", "He is sad. ", "A white man. ", "Eyes are open. "]), max_size=6)
)
def test_growing_text_never_shows_what_the_end_hides(parts):
    """Whatever is shown while an answer grows is a beginning of what stays in the end."""
    text = "".join(parts)
    end = visible(text, False).replace(REMOVED, "").strip()
    for i in range(len(text)):
        assert end.startswith(visible(text[:i], False, done=False))


@given(
    st.lists(
        st.sampled_from(["The light is soft. ", "He is sad. ", "\n\nA white man. ", "Eyes are open", "!"]), max_size=6
    ),
    st.integers(1, 9),
    st.booleans(),
)
def test_what_was_shown_piece_by_piece_is_what_may_be_seen_in_the_end(parts, size, sensitive):
    text = "".join(parts)
    screen = Screen(sensitive)
    shown = [screen.add(text[i : i + size]) for i in range(0, len(text), size)]
    shown.append(screen.add("", done=True))
    assert "".join(shown) == screen.text == visible(text, sensitive)


def test_a_stop_within_a_number_ends_no_sentence():
    text = "The child is about 2.5 years old. He is sad. The light is soft."
    assert visible(text, False) == f"The child is about 2.5 years old. The light is soft.\n\n{REMOVED}"


def test_a_question_about_them_is_refused():
    check("Is the mouth open?", False)
    check("Which race is she?", True)
    with pytest.raises(FaceLLMError, match="switched off by the operator"):
        check("Which race is she?", False)
