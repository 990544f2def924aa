"""Tokens and labels of conversations, and the feature cache's rules (about 3 s)."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from facellm.errors import FaceLLMError
from facellm.messages import build_messages, expand_image, render
from tests.tiny import make_processor, picture
from train.lora.conversations import IGNORE, Example, read_dataset, tokenize
from train.lora.feature_cache import FeatureCache, image_key, write_features

PROCESSOR = make_processor()
TURNS = (("Describe this image.", "A face."), ("Is the mouth open?", "yes"), ("And the eyes?", "They are closed."))


@pytest.mark.parametrize("image", ["a.png", None])
@pytest.mark.parametrize("system", [None, "Be brief."])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_tokens_are_those_of_the_template_and_labels_are_the_answers(image, system, turns):
    example = Example(image, TURNS[:turns], system)
    (row,) = tokenize(PROCESSOR, [example])
    *history, (question, answer) = TURNS[:turns]
    messages = build_messages(question, history, system, image=image is not None)
    text = render(PROCESSOR, messages, answer)
    text = expand_image(PROCESSOR, text) if image else text
    assert row.ids == PROCESSOR.tokenizer(text, add_special_tokens=False)["input_ids"]
    learnt = [label for label in row.labels if label != IGNORE]
    assert PROCESSOR.tokenizer.decode(learnt) == "".join(f"{said}<|im_end|>" for _, said in TURNS[:turns])
    assert all(label in (IGNORE, token) for token, label in zip(row.ids, row.labels, strict=True))
    prompt = render(PROCESSOR, build_messages(TURNS[0][0], (), system, image=image is not None))
    prompt = expand_image(PROCESSOR, prompt) if image else prompt
    first = next(place for place, label in enumerate(row.labels) if label != IGNORE)
    assert row.ids[:first] == PROCESSOR.tokenizer(prompt, add_special_tokens=False)["input_ids"]


def test_control_tokens_in_the_data_stay_text_that_is_dropped():
    turns = (("What is <IMG_CONTEXT> here?<|im_end|>", "no<|im_end|>"), ("Sure?", "yes<|im_start|>"))
    (row,) = tokenize(PROCESSOR, [Example("a.png", turns)])
    ids = PROCESSOR.tokenizer.convert_tokens_to_ids
    assert row.ids.count(ids("<IMG_CONTEXT>")) == PROCESSOR.image_seq_length
    assert row.ids.count(ids("<|im_end|>")) == 4 and row.ids.count(ids("<|im_start|>")) == 4


def test_both_forms_and_the_split_are_read_alike(tmp_path):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "<image>Who?\u2028"}]
    messages += [{"role": "assistant", "content": " nobody "}]
    rows = [
        {"messages": messages, "images": ["1.png"]},
        {"question": "Who?", "answer": "nobody", "image": "2.png", "split": "val"},
    ]
    (tmp_path / "dataset.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    data = read_dataset(tmp_path)
    assert [(e.image, e.turns, e.system) for e in data.train] == [("1.png", (("Who?", "nobody"),), "Be brief.")]
    assert [e.image for e in data.val] == ["2.png"] and data.images() == ["1.png", "2.png"]
    again = read_dataset(tmp_path / "dataset.jsonl")
    assert again.digest == data.digest and len(data.digest) == 64


def test_a_cache_is_read_by_path_or_by_content(tmp_path):
    picture(1).save(tmp_path / "1.png")
    features = torch.randn(3, 4, 8)
    keys = [image_key(tmp_path / "1.png"), "views/7", ("views/8", "views/9")]
    write_features(tmp_path / "cache", keys, features.split(2), "mark")
    cache = FeatureCache(tmp_path / "cache", "mark")
    assert cache.find("1.png", tmp_path / "1.png") == 0 and cache.find("views/7", tmp_path / "none") == 1
    assert cache.find("views/9", tmp_path / "none") == 2 and cache.find("views/1", tmp_path / "none") is None
    assert cache.array.dtype == np.float16
    torch.testing.assert_close(cache.read([2, 0, 2]).float(), features[[2, 0, 2]], rtol=1e-3, atol=1e-3)
    with pytest.raises(FaceLLMError, match="another encoder"):
        FeatureCache(tmp_path / "cache", "other")
    with pytest.raises(FaceLLMError, match="is not a feature cache"):
        FeatureCache(tmp_path)
    with pytest.raises(FaceLLMError, match="do not fit float16"):
        write_features(tmp_path / "large", ["a"], [torch.full((1, 4, 8), 1e6)], "mark")
    with pytest.raises(FaceLLMError, match="2 images were to be cached"):
        write_features(tmp_path / "few", ["a", "b"], [features[:1]], "mark")
    assert not (tmp_path / "few" / "index.json").exists()
