"""The benchmarks' own parts: what they open, how they reckon, what they write. Nothing here is timed."""

import json

import pytest
import torch

from facellm.engine.engine import Engine
from facellm.engine.sampling import Sampling
from facellm.messages import build_messages, prompt_ids
from facellm.results import Row
from tests import tiny
from tests.bench import __main__ as bench
from tests.bench import gpu, models, pairs, report, training
from tests.bench.timing import percentile, race, result

SHAPES = {"small": ((2, 64, 128, 4, 2), (2, 32, 64, 2))}


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_random_shapes_open_as_a_downloaded_model_would(quantization):
    import bitsandbytes as bnb

    loaded = models.random_shape("small", quantization, "cpu", SHAPES, vocabulary=1728)
    assert not any(p.is_meta for p in loaded.model.parameters())
    layers = [m for n, m in loaded.model.named_modules() if n.endswith(("q_proj.base_layer", "down_proj.base_layer"))]
    assert len(layers) == 4
    assert {isinstance(m, bnb.nn.Linear4bit) for m in layers} == {quantization == "nf4"}
    assert not isinstance(loaded.model.get_base_model().lm_head, bnb.nn.Linear4bit)
    engine = models.Subject("small", models.endless(loaded)).engine()
    answers = engine.answer(tiny.picture(0), [Row(w, "Hi") for w in loaded.variants], Sampling(max_new_tokens=3))
    assert [a.tokens for a in answers] == [3, 3] and answers[0].token_ids != answers[1].token_ids
    assert len(prompt_ids(engine.processor, build_messages("Hi"))) > 256  # as many image tokens as InternVL3 has


def test_both_sides_of_a_race_write_to_the_limit(loaded, photo, monkeypatch):
    monkeypatch.setattr(loaded.model.generation_config, "eos_token_id", loaded.model.generation_config.eos_token_id)
    subject = models.Subject("tiny", loaded)
    engine = subject.engine()
    assert engine.scheduler.eos == frozenset() and Engine(loaded).scheduler.eos
    assert subject.plain is loaded
    assert engine.answer(photo, [Row("base", "Hi")], Sampling(max_new_tokens=40))[0].tokens == 40


def test_pairs_of_a_training_step_are_those_of_an_image(loaded):
    token, end = loaded.processor.image_token_id, loaded.processor.tokenizer.eos_token_id
    eight, taught = (make(loaded.processor, 3) for make in (pairs.attributes, pairs.taught))
    assert len(eight) == 8 and len(taught) > 8
    for ids, labels in eight + taught:
        assert len(ids) == len(labels) and ids.count(token) == loaded.processor.image_seq_length and end in labels
        assert all(label in (pairs.IGNORE, one) for one, label in zip(ids, labels, strict=True))
    answers = [sum(label != pairs.IGNORE for label in labels) for _, labels in taught]
    assert min(answers) <= 4 and max(answers) > 20  # letters and attributes at length
    assert taught == pairs.taught(loaded.processor, 3) != pairs.taught(loaded.processor, 4)


def test_a_training_step_is_the_same_packed_and_plain(tmp_path):
    base = models.write_random(tmp_path, *SHAPES["small"], image_side=56, vocabulary=1800)
    steps = training.Steps.opened(str(base), "attributes", images=1)
    assert len(steps.pairs) == 8 and steps.model.get_base_model().lm_head.out_features == 1800
    (packed, plain), apart = steps.disagreement()
    assert packed == pytest.approx(plain, rel=1e-5) and 0 < apart < 1e-4
    assert steps.tokens["packed"] < steps.tokens["plain"]


def test_the_peak_of_a_step_is_what_it_took_at_once():
    taken, whole = training.peak(lambda: bytearray(300 * 2**20).count(1))
    assert 250 < taken < 400 and whole > taken
    assert training.peak(lambda: None)[0] < 50  # given back, and not counted again


def test_ratios_are_taken_repeat_by_repeat():
    order = []
    pairs = race(lambda: order.append("ours"), lambda: order.append("other"), 3)
    assert len(pairs) == 3 and order == ["ours", "other", "other", "ours", "ours", "other"]
    line = result("B1", "nano", "x", "y", [(1.0, 4.0), (2.0, 6.0), (1.0, 7.0)], target="≥ 5")
    assert (line.ours, line.other, line.ratio, line.spread, line.met) == (1.0, 6.0, 4.0, (3.0, 7.0), False)
    line = result("B3", "nano", "x", "y", [(1.0, 4.0)], slower=True, target="≤ 2.5")
    assert line.ratio == 0.25 and line.met
    assert result("B7", "nano", "x", "y", [(1.0, 4.0)]).met is None
    assert percentile([3.0, 1.0, 2.0, 4.0], 0.5) == 3.0 and percentile([1.0], 0.95) == 1.0


def test_tables_stand_between_the_marks(tmp_path):
    doc = tmp_path / "performance.md"
    doc.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    results = [result("B1", "nano", "eight answers", "generate", [(1.0, 6.0)], target="≥ 5", notes={"tokens": 3})]
    for _ in range(2):  # a second writing replaces the first
        report.write_tables(doc, results, "python -m tests.bench B1")
    text = doc.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert text.count("| nano | eight answers | 1 s | generate | 6 s | **6** (6 to 6, 1) | ≥ 5: met |") == 1
    assert "- nano, eight answers: tokens 3." in text and torch.__version__ in text
    report.write_json(tmp_path / "b.json", results, {"tokens": 3})
    assert json.loads((tmp_path / "b.json").read_text())["results"][0]["met"] is True
    doc.write_text("no marks")
    with pytest.raises(SystemExit, match="no place for the tables"):
        report.write_tables(doc, results, "x")


def test_unknown_names_are_refused(capsys):
    assert bench.main(["B9"]) == 2 and "there is no B9" in capsys.readouterr().err
    assert bench.main(["B1", "--models", "huge"]) == 2 and "there is no model huge" in capsys.readouterr().err


def test_the_gpu_script_runs_at_toy_size_and_writes_its_table(tmp_path, capsys):
    doc = tmp_path / "p.md"
    doc.write_text(f"before\n{gpu.BEGIN}\nold\n{gpu.END}\nafter\n")
    assert gpu.main(["--toy", "--tokens", "3", "--repeats", "1", "--docs", str(doc)]) == 0
    text = doc.read_text()
    assert text.startswith("before") and text.endswith("after\n") and "old" not in text
    rows = [line for line in text.splitlines() if line.startswith("| toy")]
    assert [row.split(" | ")[1] for row in rows] == ["bf16", "nf4"]
    for row in rows:  # every figure but the card's own was taken
        assert row.count("| - ") == 1
    assert gpu.main(["--toy", "--seconds", "-1"]) == 0 and "the time was up" in capsys.readouterr().out


def test_without_a_gpu_the_script_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 0 and "There is no CUDA GPU here" in capsys.readouterr().out
