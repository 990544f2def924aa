"""Streaming text: whole characters only, and in the end exactly the decoded answer."""

from hypothesis import given, settings
from hypothesis import strategies as st

from facellm.engine.detokenize import BROKEN, TextStream
from tests.tiny import make_processor

TOKENIZER = make_processor().tokenizer


def stream(ids):
    text = TextStream(TOKENIZER)
    parts = [text.add(i) for i in ids]
    return [*parts, text.finish()], text.text


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=40))
def test_any_text_comes_out_whole(text):
    ids = TOKENIZER(text)["input_ids"]
    parts, whole = stream(ids)
    assert "".join(parts) == whole
    assert whole == TOKENIZER.decode(ids, skip_special_tokens=True).replace(BROKEN, "")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, len(TOKENIZER) - 1), min_size=1, max_size=40))
def test_any_tokens_never_show_half_a_character(ids):
    parts, whole = stream(ids)
    assert BROKEN not in "".join(parts)
    assert whole == TOKENIZER.decode(ids, skip_special_tokens=True).replace(BROKEN, "")


def test_a_character_of_several_tokens_appears_at_once():
    ids = TOKENIZER("a😀b")["input_ids"]
    parts, whole = stream(ids)
    assert len(ids) == 6  # the smiling face is four bytes, each a token
    assert parts == ["a", "", "", "", "😀", "b", ""]
    assert whole == "a😀b"


def test_special_tokens_are_not_text():
    assert stream(TOKENIZER("yes<|im_end|>")["input_ids"])[1] == "yes"
