"""Flags and the recipe's part: defaults, what overrides what, and a sentence for everything that cannot be."""

from __future__ import annotations

import re

import pytest
import yaml

from facellm.errors import FaceLLMError
from tests.train.teachers.teacher_server import write_faces
from train.dataset import options as dataset_options
from train.dataset.dataset import main
from train.lora.recipe import RECIPES, load_recipe

NEEDED = ["--images", "i", "--out", "o"]


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def test_defaults_come_from_the_recipe():
    args = dataset_options.read(NEEDED)
    part = yaml.safe_load((RECIPES / "paper.yaml").read_text())["dataset"]
    assert (args.model, args.detail, args.seed, args.max_tokens) == ("gpt-4o-2024-11-20", "high", 0, 700)
    assert args.model == part["model"] and list(args.alternatives) == part["alternatives"]
    args = dataset_options.read([*NEEDED, "--model", "mine", "--seed", "3", "--shard", "2/4"])
    assert (args.model, args.seed, args.detail, args.shard) == ("mine", 3, "high", (2, 4))
    assert load_recipe("paper").rank == 16  # `train lora` reads the same file and leaves this part alone


def test_a_recipe_of_ones_own(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text('rank: 4\ndataset:\n  model: local\n  price: "1,2"\n  max_tokens: 99\n')
    args = dataset_options.read([*NEEDED, "--recipe", str(file)])
    assert (args.model, args.price, args.max_tokens) == ("local", "1,2", 99)
    assert dataset_options.read([*NEEDED, "--recipe", str(file), "--price", "5,6"]).price == "5,6"
    other = dataset_options.read([*NEEDED, "--recipe", str(file), "--model", "gpt-4o"])
    assert other.price is None  # the recipe's price is that of its model


def test_which_teacher(monkeypatch):
    assert dataset_options.read(NEEDED).teacher == "measured"
    assert dataset_options.read([*NEEDED, "--base-url", "http://x/v1"]).teacher == "openai"
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert dataset_options.read(NEEDED).teacher == "openai"
    assert dataset_options.read([*NEEDED, "--teacher", "measured"]).teacher == "measured"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--val", "1"], "--val is 1.0; it is a fraction"),
        (["--limit", "0"], "--limit is 0"),
        (["--concurrency", "0"], "--concurrency is 0"),
        (["--max-cost", "nan"], "--max-cost is nan"),
        (["--reask", "-1"], "--reask is -1"),
        (["--timeout", "0"], "--timeout is 0"),
        (["--tries", "0"], "--tries is 0"),
        (["--max-tokens", "3"], "--max-tokens is 3"),
        (["--poll", "0"], "--poll is 0"),
        (["--batch-requests", "50001"], "50000 at most"),
        (["--shard", "0/4"], "--shard is '0/4'"),
        (["--shard", "5/4"], "--shard is '5/4'"),
        (["--shard", "half"], "--shard is 'half'"),
        (["--cancel"], "with --batch"),
        (["--batch"], "the measured teacher needs none"),
        (["--merge", "a", "--batch"], "--merge asks nothing"),
        (["--merge", "a", "--dry-run"], "--merge writes what it takes over"),
        (["--recipe", "nothing"], "There is no recipe nothing"),
        (["--recipe", "nano"], "no part `dataset:`"),
    ],
)
def test_flags_that_cannot_be(flags, sentence):
    with pytest.raises(FaceLLMError, match=re.escape(sentence)):
        dataset_options.read([*NEEDED, *flags])


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("dataset: {modell: x}", "Unknown setting 'modell'"),
        ("dataset: {seed: high}", "seed of `dataset`"),
        ("dataset: {alternatives: gpt-4o}", "of type tuple"),
        ("dataset: 3", "no part"),
    ],
)
def test_recipe_parts_that_cannot_be(tmp_path, part, sentence):
    file = tmp_path / "mine.yaml"
    file.write_text(part)
    with pytest.raises(FaceLLMError, match=sentence):
        dataset_options.read([*NEEDED, "--recipe", str(file)])


def test_what_is_missing_is_told(tmp_path):
    faces, out = tmp_path / "faces", tmp_path / "out"
    write_faces(faces, 2)
    command = ["--images", str(faces), "--out", str(out)]
    with pytest.raises(FaceLLMError, match="nothing to resume"):
        main([*command, "--resume"])
    with pytest.raises(FaceLLMError, match=r"OPENAI_API_KEY.*--base-url.*--teacher measured"):
        main([*command, "--teacher", "openai"])
    with pytest.raises(FaceLLMError, match="There is no attribute 'nose'"):
        main([*command, "--attributes", "nose"])
    with pytest.raises(FaceLLMError, match="is not a folder"):
        main(["--images", str(tmp_path / "none"), "--out", str(out)])
    with pytest.raises(FaceLLMError, match=r"cannot be written into \(Not a directory\)"):
        main(["--images", str(faces), "--out", str(faces / "val" / "1.jpg" / "x")])
    with pytest.raises(FaceLLMError, match="holds none of the 2 images"):
        main([*command, "--shard", "1/50"])
    assert not out.exists()
