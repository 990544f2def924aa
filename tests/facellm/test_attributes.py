"""The attribute list is the paper's."""

import pytest

from facellm import ATTRIBUTES, FaceLLMError, attribute
from facellm.attributes import select, sensitive_allowed


def test_eight_in_the_papers_order_and_wording():
    keys = ["demographic", "structure", "skin", "expression", "lighting", "pose", "forensic", "detail"]
    assert [a.key for a in ATTRIBUTES] == keys
    assert ATTRIBUTES[5].question == "Describe the face pose of the image based on the visual information."
    assert ATTRIBUTES[7].question == "Describe this image."
    assert len({a.question for a in ATTRIBUTES}) == len({a.title for a in ATTRIBUTES}) == 8
    assert [a.key for a in ATTRIBUTES if a.sensitive] == ["demographic", "expression"]


def test_selection_keeps_the_order_and_names_what_is_unknown():
    assert [a.key for a in select("detail, pose,pose")] == ["pose", "detail"]
    assert select(None) == select("") == select([]) == ATTRIBUTES
    assert select([ATTRIBUTES[2], "SKIN"]) == (ATTRIBUTES[2],)
    with pytest.raises(FaceLLMError, match="no attribute 'hair'; choose from demographic"):
        attribute("hair")


def test_the_operator_can_switch_off_ethnicity_and_emotion(monkeypatch):
    assert sensitive_allowed()
    monkeypatch.setenv("FACELLM_SENSITIVE", "off")
    assert [a.key for a in select()] == ["structure", "skin", "lighting", "pose", "forensic", "detail"]
    with pytest.raises(FaceLLMError, match="switched off expression"):
        select("pose,expression")
    monkeypatch.setenv("FACELLM_SENSITIVE", "of")
    with pytest.raises(FaceLLMError, match="set it to on or off"):
        sensitive_allowed()
