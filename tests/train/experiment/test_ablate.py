"""The ablation of ranks, which is resumable and leaves a table and a plot (about 10 s)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from facellm.errors import FaceLLMError
from tests.tiny import make_tiny_internvl
from tests.train.lora.lora_data import make_data, make_world
from train import __main__ as cli
from train.evaluate import evaluate
from train.experiment import ablate
from train.lora import lora
from train.lora.recipe import check

QUICK = {
    "learning_rate": 0.02, "batch": 32, "epochs": 2.0, "precision": "float32", "eval_every": 0, "save_every": 0,
    "samples": 0, "log_every": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


def test_ablation_trains_each_rank_once(world, tmp_path, monkeypatch):
    out = tmp_path / "ablation"
    rows = ablate.ablate(*world, out, [1, 2], check({**QUICK, "max_steps": 2}), device="cpu")
    assert [row["rank"] for row in rows] == [1, 2]
    assert rows[1]["trainable"] == 2 * rows[0]["trainable"] and rows[0]["val_loss"] > 0
    assert json.loads((out / "rank-2/adapter/training.json").read_text())["recipe"]["alpha"] == 4
    table = (out / "ablation.md").read_text()
    assert table.count("\n") == 4 and "trainable parameters" in table and "short answers right" in table
    assert (out / "ablation.png").stat().st_size > 1000

    trained = []
    real = lora.train
    monkeypatch.setattr(lora, "train", lambda *a, **k: trained.append(a[2].name) or real(*a, **k))
    shutil.rmtree(out / "rank-2")
    again = ablate.ablate(*world, out, [1, 2], check({**QUICK, "max_steps": 2}), device="cpu")
    assert trained == ["rank-2"]
    assert again[0] == rows[0] and again[1]["val_loss"] == pytest.approx(rows[1]["val_loss"], abs=1e-6)
    with pytest.raises(FaceLLMError, match="was trained with max_steps=2, not 1"):
        ablate.ablate(*world, out, [1], check({**QUICK, "max_steps": 1}), device="cpu")
    # A finished rank is not taken for one of other data or of another base.
    data, base = make_data(tmp_path / "data", train=8), make_tiny_internvl(tmp_path / "base", end_bias=0.5, seed=9)
    with pytest.raises(FaceLLMError, match=r"rank-1 was trained on other data than .*; name another --out, or remove"):
        ablate.ablate(data, world[1], out, [1], check({**QUICK, "max_steps": 2}), device="cpu")
    with pytest.raises(FaceLLMError, match=r"rank-1 was trained on another base \(.*\) than .*; name another --out"):
        ablate.ablate(world[0], str(base), out, [1], check({**QUICK, "max_steps": 2}), device="cpu")


def test_an_evaluation_is_asked_for_even_where_one_is_finished(tmp_path, monkeypatch):
    """`train evaluate` alone knows whether what is there is of these weights, questions and limit."""
    asked = []

    def evaluated(argv):
        asked.append(argv)
        target = Path(argv[argv.index("--out") + 1])
        target.mkdir(parents=True, exist_ok=True)
        rate = {"value": 0.5, "low": 0.4, "high": 0.6, "total": int(argv[argv.index("--limit") + 1])}
        found = {"models": {"facellm": {"likelihood": {"overall": {"accuracy": rate}}}}}
        (target / "results.json").write_text(json.dumps(found))

    monkeypatch.setattr(evaluate, "main", evaluated)
    rows = [ablate._measure(tmp_path / "bench", "nano", tmp_path / "rank-1", limit, "cpu") for limit in (10, 600)]
    assert [row["questions"] for row in rows] == [10, 600]
    assert asked[1] == [
        str(tmp_path / "bench"), "--model", "nano", "--method", "likelihood", "--out",
        str(tmp_path / "rank-1" / "evaluation"), "--adapter", str(tmp_path / "rank-1" / "adapter"), "--limit", "600",
        "--device", "cpu",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "4,4", "0", "4,eight"])
def test_ranks_are_numbers(text):
    with pytest.raises(FaceLLMError, match="different whole numbers"):
        ablate.read_ranks(text)


def test_ablate_compares_adapters_only(tmp_path, capsys):
    flags = ["ablate", "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--train", "all"]
    assert cli.main(flags) == 2
    assert "ablate compares ranks of an adapter, but train is all" in capsys.readouterr().err
