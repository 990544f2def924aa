"""The shipped recipes against the code and against what was published (under 5 s)."""

from __future__ import annotations

import argparse
import dataclasses
import re

import numpy as np
import pytest
import yaml

from facellm.errors import FaceLLMError
from tests.paths import ROOT
from train.lora.packs import Pack
from train.lora.recipe import RECIPES, SETTINGS, Recipe, add_flags, check, dump, from_flags, load_recipe, names
from train.lora.trainer import StepPlan

# arXiv 2507.10300, section on training: LoRA r=16, alpha=32, no dropout, learning rate 1e-5 falling by a cosine without
# warm-up, one epoch, effective batch 80 (1B, 8B), bf16, at most 2,048 tokens, gradient norm 1.0.
PUBLISHED = {
    "rank": 16, "alpha": 32, "dropout": 0.0, "learning_rate": 1e-5, "schedule": "cosine", "warmup": 0.0, "epochs": 1.0,
    "batch": 80, "precision": "bf16", "cutoff": 2048, "max_grad_norm": 1.0, "quantization": "none", "max_steps": 0,
}  # fmt: skip


def packs(count: int, pairs: int = 8, seed: int = 0) -> list[Pack]:
    lengths = np.random.default_rng(seed).integers(300, 900, count)
    empty = np.zeros(0, np.int32)
    return [
        Pack(np.zeros(n, np.int32), empty, empty, tuple(range(0, pairs * 30, 30)), image)
        for image, n in enumerate(lengths)
    ]


def test_recipes_name_every_setting():
    assert names() == ["laptop", "mini", "nano", "paper"]
    for name in names():
        written = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
        left = {field.name for field in dataclasses.fields(Recipe)} - set(written)
        assert left <= {"max_steps"}, f"{name} leaves {left} to the defaults"
        assert check(yaml.safe_load(dump(load_recipe(name)))) == load_recipe(name)


def test_paper_is_the_published_setting():
    recipe = dataclasses.asdict(load_recipe("paper"))
    assert {key: recipe[key] for key in PUBLISHED} == PUBLISHED


def test_paper_takes_ten_images_a_step():
    recipe = load_recipe("paper")
    plan = StepPlan(packs(10_954), recipe.batch, recipe.micro_tokens, recipe.seed)
    assert plan.steps == 1095 and plan.batch == pytest.approx(80, abs=0.1)  # 87,632 pairs


def test_laptop_is_four_bit_and_nano_reads_cached_features():
    assert load_recipe("laptop").quantization == "nf4"
    assert load_recipe("nano").cache_features and load_recipe("nano").packed


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rnak": 3}, "Unknown setting 'rnak'"),
        ({"rank": "many"}, "rank in the settings must be of type int"),
        ({"rank": 0}, "rank in the settings must be above 0"),
        ({"packed": 1}, "packed in the settings must be of type bool"),
        ({"schedule": "sine"}, "schedule in the settings must be one of cosine"),
        ({"epochs": -1.0}, "must not be negative"),
        ({"learning_rate": "fast"}, "must be a number"),
    ],
)
def test_a_wrong_setting_is_named(values, words):
    with pytest.raises(FaceLLMError, match=re.escape(words)):
        check(values)


def test_flags_override_the_recipe_and_unknown_recipes_are_told(tmp_path):
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipe")
    add_flags(parser)
    args = parser.parse_args(["--recipe", "paper", "--batch", "12", "--plain", "--no-gradient-checkpointing"])
    expected = dataclasses.replace(load_recipe("paper"), batch=12, packed=False, gradient_checkpointing=False)
    assert from_flags(args) == expected
    assert all(setting.metadata["help"] for setting in SETTINGS.values())
    with pytest.raises(FaceLLMError, match="There is no recipe best; choose laptop, mini, nano, paper"):
        load_recipe("best")
    (tmp_path / "mine.yaml").write_text("rank: 4\nlearning_rate: 1e-3\n")
    assert load_recipe(tmp_path / "mine.yaml") == Recipe(rank=4, learning_rate=1e-3)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_a_plan_sees_every_pack_once_and_is_the_same_for_any_number_of_processes(world):
    made = packs(103)
    plans = [StepPlan(made, 80, 1500, seed=3, world=world, rank=rank) for rank in range(world)]
    alone = StepPlan(made, 80, 1500, seed=3)
    assert len({plan.steps for plan in plans}) == 1 and plans[0].steps == alone.steps == 10
    parts = [list(plan) for plan in plans]
    assert sorted(index for part in parts for micro in part for index in micro) == list(range(103))
    assert all(part and len(part) == len(plans[0]) for part in parts)
    size, many = plans[0].accumulate, alone.accumulate
    for step in range(alone.steps):
        mine = {i for part in parts for micro in part[step * size : (step + 1) * size] for i in micro}
        assert mine == {i for micro in list(alone)[step * many : (step + 1) * many] for i in micro}
        tokens = [sum(len(made[i]) for i in micro) for micro in parts[0][step * size : (step + 1) * size]]
        assert all(tokens) and max(tokens) <= 1500 + 900
    order = [index for micro in plans[0] for index in micro]
    plans[0].set_epoch(1)
    assert order != [index for micro in plans[0] for index in micro]


def test_too_many_processes_are_told():
    with pytest.raises(FaceLLMError, match="too few for 16 processes; raise --batch to at least 128"):
        StepPlan(packs(100), 80, 4096, 0, world=16)


@pytest.mark.parametrize("file", sorted((RECIPES / "accelerate").glob("*.yaml")), ids=lambda file: file.stem)
def test_accelerate_reads_the_shipped_configurations(file):
    from accelerate.commands.config.config_args import load_config_from_file
    from transformers.models.qwen2 import modeling_qwen2

    config = load_config_from_file(str(file))
    assert config.mixed_precision == "bf16" and config.num_processes >= 2
    wrapped = getattr(config, "fsdp_config", None) or {}
    if wrapped:
        assert hasattr(modeling_qwen2, wrapped["fsdp_transformer_layer_cls_to_wrap"])


def test_the_guide_names_commands_and_recipes_that_exist():
    from train.experiment import ablate
    from train.lora import export, lora

    text = (ROOT / "docs" / "training.md").read_text()
    parsers = {"lora": lora.parser(), "export": export.parser(), "ablate": ablate.parser()}
    found = re.findall(r"-m train (\w+)((?: [^\n`\\]+| *\\\n)*)", text)
    checked = 0
    for verb, rest in found:
        if verb in parsers:
            known = {flag for action in parsers[verb]._actions for flag in action.option_strings}
            assert set(re.findall(r"--[a-z-]+", rest)) <= known, (verb, rest)
            checked += 1
    assert checked >= 4
    for path in re.findall(r"train/recipes/[\w/]+\.yaml", text):
        assert (ROOT / path).is_file(), path
