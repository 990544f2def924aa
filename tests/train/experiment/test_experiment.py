"""Every experiment in a small form on nano, a kill, and the statistics (about 60 s)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from facellm.errors import FaceLLMError
from tests.paths import ROOT
from tests.tiny import make_tiny_internvl
from tests.train.lora.lora_data import make_data
from train import __main__ as cli
from train.experiment.comparison import compare
from train.experiment.plans import EXPERIMENTS
from train.experiment.trials import Trial
from train.lora import lora

SMALL = [
    "--max-steps", "2", "--precision", "float32", "--batch", "8", "--eval-every", "0", "--save-every", "1",
    "--samples", "0", "--log-every", "1", "--micro-tokens", "512", "--device", "cpu", "--learning-rate", "1e-3",
]  # fmt: skip


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A set, another about the same images with other answers, and general rows."""
    folder = tmp_path_factory.mktemp("sets")
    main = make_data(folder / "main", train=4, val=3)
    other = folder / "other"
    shutil.copytree(main, other)
    rows = json.loads((other / "dataset.json").read_text())
    for row in rows:
        row["conversations"][1]["value"] = "A face in the light."
    (other / "dataset.json").write_text(json.dumps(rows[::4]))
    (other / "val.json").unlink()
    general = folder / "general.jsonl"
    talk = ({"question": f"What is {i} + {i}?", "answer": f"{2 * i}"} for i in range(20))
    general.write_text("".join(json.dumps(row) + "\n" for row in talk))
    return main, other, general


def command(name: str, sets, out: Path, *more: str) -> list[str]:
    main, other, general = sets
    flags = ["experiment", name, "--data", str(main), "--out", str(out), *SMALL]
    for wanted in EXPERIMENTS[name].sets:
        flags += ["--set", f"{wanted}={other}"]
    return [*flags, *(["--mix", str(general)] if EXPERIMENTS[name].mixes else []), *more]


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs_on_nano(sets, tmp_path, name, capsys):
    assert cli.main(command(name, sets, tmp_path / "out", "--seeds", "1")) == 0
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    arms = [arm.name for arm in EXPERIMENTS[name].arms]
    assert found["complete"] and [trial["arm"] for trial in found["trials"]] == arms
    pairs = len(arms) * (len(arms) - 1) // 2
    assert len([one for one in found["comparisons"] if one["measure"] == "loss"]) == pairs
    assert all(one["units"] == 3 and one["p"] <= one["p_holm"] for one in found["comparisons"])
    shown = capsys.readouterr().out
    assert EXPERIMENTS[name].question in shown and all(arm in shown for arm in arms)
    assert (tmp_path / "out" / "plot.png").stat().st_size > 1000
    assert "<svg" in (tmp_path / "out" / "report.html").read_text()
    recipes = {arm: _recipe(tmp_path / "out" / arm / "seed-0") for arm in arms}
    for arm in EXPERIMENTS[name].arms:
        assert {key: recipes[arm.name][key] for key in arm.settings} == dict(arm.settings)
    if name == "parts":
        assert recipes["full"]["learning_rate"] == pytest.approx(recipes["adapter"]["learning_rate"] / 10)
    if name == "general":
        rows = [_record(tmp_path / "out" / arm / "seed-0")["data"]["train"] for arm in arms]
        assert rows == [16, 20]
    if EXPERIMENTS[name].sets:  # the same validation rows, whatever is learnt
        assert len({_record(tmp_path / "out" / arm / "seed-0")["data"]["val"] for arm in arms}) == 1
        assert len({_record(tmp_path / "out" / arm / "seed-0")["data"]["digest"] for arm in arms}) == 2


def _record(folder: Path) -> dict:
    place = next(folder / name for name in ("adapter", "model") if (folder / name).is_dir())
    return json.loads((place / "training.json").read_text())


def _recipe(folder: Path) -> dict:
    return _record(folder)["recipe"]


@pytest.mark.slow
def test_a_killed_experiment_goes_on_and_repeats_nothing(sets, tmp_path, monkeypatch):
    base = make_tiny_internvl(tmp_path / "base", end_bias=0.5)
    flags = command("teachers", sets, tmp_path / "out", "--seeds", "1", "--model", str(base))
    unbroken = command("teachers", sets, tmp_path / "unbroken", "--seeds", "1", "--model", str(base))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "train", *flags], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    # In the middle of the second trial, once it has a checkpoint.
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("out/seen/seed-0/checkpoints/checkpoint-1/complete.json")):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()[1][-2000:]
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = (tmp_path / "out/measured/seed-0/adapter/training.json").stat().st_mtime_ns
    trained, real = [], lora.train
    monkeypatch.setattr(
        lora, "train", lambda *a, **k: trained.append(f"{a[2].parent.name} {a[2].name}") or real(*a, **k)
    )
    assert cli.main(flags) == 0
    assert trained == ["seen seed-0"]
    assert (tmp_path / "out/measured/seed-0/adapter/training.json").stat().st_mtime_ns == kept
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [(trial["arm"], trial["seed"]) for trial in found["trials"]] == [("measured", 0), ("seen", 0)]
    monkeypatch.undo()
    assert cli.main(unbroken) == 0
    whole = json.loads((tmp_path / "unbroken" / "results.json").read_text())
    losses = [[trial["val_loss"] for trial in one["trials"]] for one in (found, whole)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    # Done: nothing is trained again, and another experiment is not mixed in.
    monkeypatch.setattr(lora, "train", lambda *a, **k: pytest.fail("trained again"))
    assert cli.main(flags) == 0
    assert cli.main(command("general", sets, tmp_path / "out", "--model", str(base))) == 2


def trial(arm: str, seed: int, losses: list[float], right: dict[str, bool] | None = None) -> Trial:
    answers = [
        {"pack": place, "image": f"{place}.png", "tokens": 2, "loss": loss, "right": loss < 0.5}
        for place, loss in enumerate(losses)
    ]
    return Trial(arm, seed, {"val_loss": float(np.mean(losses))}, answers, right or {})


def test_comparisons_are_paired_over_images_with_seeds_averaged_and_corrected():
    from scipy.stats import wilcoxon

    rng = np.random.default_rng(0)
    first = rng.uniform(0.2, 0.9, (2, 30))
    better = first - rng.uniform(0.0, 0.2, (2, 30))
    done = [trial("a", s, list(first[s])) for s in (0, 1)] + [trial("b", s, list(better[s])) for s in (0, 1)]
    done += [trial("c", s, list(first[s])) for s in (0, 1)]
    found = {(one.measure, one.first, one.second): one for one in compare(done, ["a", "b", "c"])}
    gain = (better - first).mean(0)
    one = found["loss", "a", "b"]
    assert one.gain == pytest.approx(gain.mean()) and one.low < one.gain < one.high < 0 and one.units == 30
    assert one.p == pytest.approx(wilcoxon(gain).pvalue) and one.p_holm >= one.p
    same = found["loss", "a", "c"]
    assert (same.gain, same.p) == (0, 1)
    assert found["short", "a", "b"].gain > 0 and ("benchmark", "a", "b") not in found
    assert compare(done[:2], ["a", "b"]) == []
    with pytest.raises(FaceLLMError, match="different rows"):
        compare([done[0], trial("b", 0, [0.1])], ["a", "b"])
    marked = [trial("a", 0, [0.1], {"q1": True, "q2": False}), trial("b", 0, [0.1], {"q1": True, "q2": True})]
    assert next(one.gain for one in compare(marked, ["a", "b"]) if one.measure == "benchmark") == 0.5


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("prompts", [], "needs a second set; add --set holistic=FOLDER"),
        ("ranks", ["--set", "seen=x"], "has no use for --set seen=...; it takes none"),
        ("general", [], "needs general rows; add --mix"),
        ("ranks", ["--set", "seen"], "write it as NAME=SET"),
        ("ranks", ["--seeds", "0"], "--seeds is 0"),
        ("ranks", ["--seed", "1"], "sets the seed itself"),
    ],
)
def test_sentences_about_an_experiment(tmp_path, capsys, name, more, words):
    assert cli.main(["experiment", name, "--data", str(tmp_path), "--out", str(tmp_path / "out"), *more]) == 2
    assert words in capsys.readouterr().err


def test_a_set_without_validation_rows_is_told(sets, tmp_path, capsys):
    flags = ["experiment", "ranks", "--data", str(sets[1]), "--out", str(tmp_path / "out"), *SMALL]
    assert cli.main(flags) == 2
    assert "has no validation rows to compare the arms on; give --val-data" in capsys.readouterr().err
