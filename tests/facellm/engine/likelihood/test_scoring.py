"""Likelihoods of labels equal those of whole sequences read one at a time."""

from contextlib import nullcontext

import pytest
import torch

from facellm import FaceLLMError
from facellm.messages import build_messages, render
from facellm.profile import FIELDS


@torch.inference_mode()
def one_at_a_time(loaded, photo, question, label, variant):
    prompt, full = (render(loaded.processor, build_messages(question), a) for a in (None, label))
    inputs = loaded.processor(text=[full], images=[photo], return_tensors="pt")
    start = loaded.processor(text=[prompt], images=[photo], return_tensors="pt")["input_ids"].shape[1]
    with loaded.model.disable_adapter() if variant == "base" else nullcontext():
        logs = loaded.model(**inputs).logits[0].log_softmax(-1)
    ids = inputs["input_ids"][0]
    return sum(logs[i - 1, ids[i]].item() for i in range(start, len(ids)))


def test_all_fields_of_both_models_in_one_pass(engine, photo, monkeypatch):
    passes = []
    original = type(engine.networks["base"]).forward

    def forward(self, embeddings, *args):
        passes.append(len(embeddings))
        return original(self, embeddings, *args)

    monkeypatch.setattr(type(engine.networks["base"]), "forward", forward)
    items = [(f.question, f.labels) for f in FIELDS]
    scores = engine.score_many(photo, items, ("base", "facellm"))
    assert passes == [2, 2 * len(FIELDS)]  # the prefix of both models, then everything
    monkeypatch.undo()
    for variant in ("base", "facellm"):
        for i in (0, 4):
            question, labels = items[i]
            expected = [one_at_a_time(engine.loaded, photo, question, label, variant) for label in labels[:3]]
            assert scores[variant][i][:3] == pytest.approx(expected, abs=2e-3)


def test_a_label_does_not_depend_on_the_others(engine, photo):
    alone = engine.score(photo, "Which?", ["closed"])[0]
    assert engine.score(photo, "Which?", ["open", "a longer label", "closed"])[2] == pytest.approx(alone, abs=1e-3)


def test_a_prefix_of_another_label_does_not_win_by_being_short(engine, photo):
    # The end mark counts, so that "10" is not at least as likely as "10-19" by construction.
    short, long = engine.score(photo, "Which?", ["1", "10-19"])
    assert short != pytest.approx(long)


@pytest.mark.parametrize("nothing", [[], [""], ["a", " "]])
def test_nothing_to_choose_from(engine, photo, nothing):
    with pytest.raises(FaceLLMError, match="nothing to choose from"):
        engine.score(photo, "Which?", nothing)
