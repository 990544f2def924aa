"""Packed batches in the Hugging Face Trainer: gradients of unpacked training, the example as it stands (about 10 s)."""

from __future__ import annotations

import ast
import importlib
import json
import pickle
import runpy
import sys

import pytest
import torch
from accelerate.utils import send_to_device
from datasets import Dataset, Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, Trainer, TrainerCallback, TrainingArguments

from facellm.errors import FaceLLMError
from tests.paths import ROOT
from tests.tiny import make_processor, make_tiny_internvl
from tests.train.lora.lora_data import make_data, rows
from train.lora.conversations import tokenize
from train.lora.feature_cache import pixels
from train.lora.packing.collator import PackedCollator, by_image
from train.lora.packs import pack_rows
from train.lora.rows.forms import example_of, split_pairs
from train.lora.trainer import collate_plain

PROCESSOR = make_processor()
OTHERS = [  # two turns, a long answer, no image
    {"messages": [{"role": "system", "content": "Be brief."},
                  {"role": "user", "content": [{"type": "image", "image": "images/0.png"}, "Is the mouth open?"]},
                  {"role": "assistant", "content": "no"}, {"role": "user", "content": "And the eyes?"},
                  {"role": "assistant", "content": "They are closed."}]},
    {"image": "images/1.png", "question": "Describe this image.", "answer": "The face is evenly lit. " * 9},
    {"images": [], "question": "What is an age group?", "answer": "Ten years."},
]  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_internvl(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"))


class Gradients(TrainerCallback):
    """Those of the last step."""

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.found = {name: w.grad.clone() for name, w in model.named_parameters() if w.grad is not None}


def trainer(model, out, collator, train, batch, kind=Trainer, config=TrainingArguments, **settings):
    given = {
        "max_steps": 1, "max_grad_norm": 0, "report_to": "none", "disable_tqdm": True, "remove_unused_columns": False,
        "save_strategy": "no", "use_cpu": True, "logging_steps": 1, "bf16": False, **settings,
    }  # fmt: skip
    arguments = config(str(out), per_device_train_batch_size=batch, per_device_eval_batch_size=batch, **given)
    return kind(
        model, arguments, data_collator=collator, train_dataset=train, eval_dataset=train, processing_class=PROCESSOR
    )


def packed_and_plain(base, data, out, **kind):
    """(loss, gradients) of a step of two micro-batches in which everything trains, packed and one pair a row."""
    given = [*rows(0, 4), *OTHERS]

    def one_pair_a_row(batch):
        examples = [example_of(split_pairs(row)[0], "")[0] for row in batch]
        made = collate_plain(pack_rows(tokenize(PROCESSOR, examples), PROCESSOR.image_token_id, None, packed=False))
        shown = [data / image for image in made.pop("images")]
        return {**made, "pixel_values": pixels(PROCESSOR, shown)}

    found = []
    for packed in (True, False):
        model, gradients = AutoModelForImageTextToText.from_pretrained(base), Gradients()
        train = by_image(given) if packed else [one for row in given for one in by_image([row])]
        collator = PackedCollator(model, PROCESSOR, data) if packed else one_pair_a_row
        made = trainer(
            model, out, collator, Dataset.from_list(train), 3 if packed else 10, gradient_accumulation_steps=2, **kind
        )
        made.add_callback(gradients)
        made.train()
        found.append((made.state.log_history[0]["loss"], gradients.found))
    return found


def check_equal(packed, plain):
    """To 1e-5 of each gradient's norm, in float32; where a gradient is zero (a key's bias), of all of them."""
    assert packed[0] == pytest.approx(plain[0], rel=1e-5)
    assert packed[1].keys() == plain[1].keys() and len(packed[1]) > 60
    whole = torch.stack([gradient.norm() for gradient in plain[1].values()]).norm()
    for name, gradient in packed[1].items():
        assert (gradient - plain[1][name]).norm() <= 1e-5 * plain[1][name].norm() + 1e-7 * whole, name


def test_the_trainer_gets_the_loss_and_gradients_of_unpacked_training(base, data, tmp_path):
    check_equal(*packed_and_plain(base, data, tmp_path))


def test_the_example_trains_an_adapter_with_the_plain_trainer(base, data, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["packed_trainer.py", str(base), str(data / "dataset.json"), str(tmp_path)])
    ran = runpy.run_path(str(ROOT / "docs/examples/packed_trainer.py"))["trainer"]
    assert ran.state.global_step == 8  # sixteen images of four pairs, two a step
    weights = load_file(tmp_path / "adapter_model.safetensors")
    assert all(weight.abs().sum() > 0 for name, weight in weights.items() if "lora_B" in name)


def test_the_examples_name_what_this_project_has():
    """The one for TRL is not run here: TRL is no dependency."""
    examples = sorted((ROOT / "docs/examples").glob("*.py"))
    assert [file.stem for file in examples] == ["packed_trainer", "packed_trl"]
    for file in examples:
        imports = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.ImportFrom)]
        ours = [node for node in imports if node.module.split(".")[0] in ("facellm", "train")]
        assert len(ours) == 2
        for node in ours:
            assert all(hasattr(importlib.import_module(node.module), alias.name) for alias in node.names)


def test_it_learns_and_validates_on_a_dataset_of_decoded_images(base, data, tmp_path):
    """Rows with PIL images, as `datasets` hands them over; of the Cauldron's form, several texts an image."""
    model = AutoModelForImageTextToText.from_pretrained(base)
    answers = ("yes", "no")
    table = Dataset.from_list([
        {"images": [str(data / f"images/{i}.png")],
         "texts": [{"user": "Is the mouth open?", "assistant": answers[i % 2], "source": "x"},
                   {"user": "Describe this image.", "assistant": "A face.", "source": "x"}]}
        for i in range(4)
    ]).cast_column("images", [Image()])  # fmt: skip
    collator = PackedCollator(model, pickle.loads(pickle.dumps(PROCESSOR)))
    batch = collator(list(table))
    assert batch["pixel_values"].shape[0] == 4 and batch["attention_mask"].sum() == batch["input_ids"].numel()
    assert pickle.loads(pickle.dumps(collator))(list(table))["input_ids"].equal(batch["input_ids"])  # for workers
    made = trainer(model, tmp_path, collator, table, 4, max_steps=15, learning_rate=3e-3)
    before = made.evaluate()["eval_loss"]
    made.train()
    assert made.evaluate()["eval_loss"] < before / 3


def test_a_batch_goes_to_the_device_as_a_whole(base, data):
    """As accelerate's loaders send it; "meta" stands for a GPU."""
    batch = PackedCollator(AutoModelForImageTextToText.from_pretrained(base), PROCESSOR, data)(rows(0, 2))
    there = send_to_device(batch, torch.device("meta"), non_blocking=True)
    blocks = there.pop("packed")
    tensors = [*there.values(), blocks.take, blocks.valid, blocks.back, *(group.mask for group in blocks.groups)]
    assert {one.device.type for one in tensors if isinstance(one, torch.Tensor)} == {"meta"}


def test_a_limit_splits_the_pairs_of_an_image_and_cuts_none(base, data):
    model = AutoModelForImageTextToText.from_pretrained(base)
    (row,) = by_image(rows(0, 1))
    whole, split = (PackedCollator(model, PROCESSOR, data, max_tokens=most)([row]) for most in (None, 70))
    assert len(whole["pixel_values"]) == 1 < len(split["pixel_values"])
    assert sorted(whole["labels"].unique()) == sorted(split["labels"].unique())
    torch.testing.assert_close(model(**whole).loss, model(**split).loss)


def test_other_calls_of_the_model_keep_their_loss(base, data):
    model, stock = (AutoModelForImageTextToText.from_pretrained(base) for _ in range(2))
    PackedCollator(model, PROCESSOR)
    ids = torch.tensor([[20, 21, 22, 23, 24]])
    given = {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)}
    torch.testing.assert_close(model(**given).loss, stock(**given).loss)


def test_rows_about_an_image_are_gathered_in_one_form(data):
    shown = (data / "images/1.png").read_bytes()
    held = {"image": {"bytes": shown, "path": None}, "question": "Who?", "answer": "Nobody."}
    found = by_image([*rows(0, 2), OTHERS[0], held, OTHERS[2], OTHERS[2], held])
    assert [len(one["pairs"]) for one in found] == [5, 4, 2, 1, 1]
    assert found[0]["images"] == [{"bytes": None, "path": "images/0.png"}] and found[3]["images"] == []
    assert found[2]["images"][0]["bytes"] == shown
    assert found[0]["pairs"][4]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert Dataset.from_list(found)[2]["pairs"] == found[2]["pairs"]
    assert by_image(found) == found


def test_what_cannot_be_packed_is_said(base, data, tmp_path):
    model = AutoModelForImageTextToText.from_pretrained(base)
    collator = PackedCollator(model, PROCESSOR, tmp_path)
    with pytest.raises(FaceLLMError, match=r"Row 5 cannot be used: it has an empty question"):
        by_image([*rows(0, 1), {"images": [], "question": "", "answer": "a"}])
    with pytest.raises(FaceLLMError, match=r"no file .*images/0\.png"):
        collator(rows(0, 1))
    with pytest.raises(FaceLLMError, match="remove_unused_columns=False"):
        trainer(model, tmp_path, collator, by_image(rows(0, 2)), 2, remove_unused_columns=True).train()
    with pytest.raises(FaceLLMError, match=r"InternVL in Hugging Face's form .*; this model is of the type qwen2"):
        PackedCollator(model.model.language_model, PROCESSOR)
    assert json.dumps(by_image(rows(0, 1)))
