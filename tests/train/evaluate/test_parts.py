"""Runs in parts: what is asked of which, and how parts become one."""

from __future__ import annotations

import json

import pytest

from facellm.errors import FaceLLMError
from tests.train.evaluate.stand_ins import SETTINGS, Faulty, StandIn, constant, oracle
from train.evaluate.evaluate import evaluate
from train.evaluate.sharding import Shard


def test_parts_are_merged_without_loss(made, tmp_path, monkeypatch, folder, capsys):
    from train.__main__ import main

    settings = {**SETTINGS, "benchmark": made.digest}
    whole = evaluate(made, StandIn(oracle), tmp_path / "whole", settings, variants=("base", "facellm"), permute=True)
    parts = []
    for number in (1, 2, 3):
        out, answerer = tmp_path / f"part{number}", StandIn(oracle)
        part = evaluate(
            made, answerer, out, settings, variants=("base", "facellm"), permute=True, shard=Shard(number, 3)
        )
        assert part["shard"] == f"{number}/3" and "part" in (out / "report.md").read_text()
        parts.append((out, {key for _, key in answerer.asked}))
    assert sum(len(keys) for _, keys in parts) == len(made.questions) == len(set().union(*(k for _, k in parts)))
    for question in made.questions:  # a question's part hangs on its image
        same = [q.key for q in made.questions if q.images == question.images]
        assert len({number for number, (_, keys) in enumerate(parts) if set(same) & keys}) == 1
    command = ["evaluate", str(folder), "--out", str(tmp_path / "merged"), "--merge"]
    assert main([*command, *(str(out) for out, _ in parts)]) == 0
    merged = json.loads((tmp_path / "merged" / "results.json").read_text())
    for name in ("models", "paired", "permuted", "asked", "settings"):
        assert merged[name] == json.loads(json.dumps(whole[name])), name
    assert main([*command[:3], str(tmp_path / "less"), "--merge", *(str(out) for out, _ in parts[:2])]) == 2
    assert "were answered by no part" in capsys.readouterr().err


def test_parts_that_do_not_fit_are_refused(made, folder, tmp_path, capsys):
    from train.__main__ import main

    for name, model, letter in (("a", "x", "A"), ("b", "y", "A"), ("c", "x", "B")):
        evaluate(made, StandIn(constant(letter)), tmp_path / name, {"model": model}, variants=("base",), limit=1)

    def merged(*names):
        paths = [str(tmp_path / name) for name in names]
        code = main(["evaluate", str(folder), "--out", str(tmp_path / "m"), "--merge", *paths])
        return code, capsys.readouterr().err

    assert merged("a", "b") == (2, f"{tmp_path / 'b'} was asked otherwise than {tmp_path / 'a'} (different: model).\n")
    assert "another part with 'A'" in merged("a", "c")[1]
    assert "holds no run.json" in merged("a", "nowhere")[1]
    assert "another benchmark" in merged("a", "a")[1]
    for text in ("0/2", "3/2", "half"):
        with pytest.raises(FaceLLMError, match="give i/n"):
            Shard.parse(text)
    assert Shard.parse("2/4") == Shard(2, 4)


def _merge(folder, out, *parts):
    from train.__main__ import main

    return main(["evaluate", str(folder), "--out", str(out), "--merge", *map(str, parts)])


def test_a_refused_merge_leaves_the_folder_as_it_was(made, folder, tmp_path, capsys):
    settings = {**SETTINGS, "benchmark": made.digest}
    evaluate(made, StandIn(constant("A")), tmp_path / "part", settings, variants=("base",))
    evaluate(made, StandIn(constant("B")), tmp_path / "other", {**settings, "model": "other"}, variants=("base",))
    evaluate(made, StandIn(constant("A")), tmp_path / "foreign", SETTINGS, variants=("base",))

    def content():
        return {p: p.read_bytes() for p in (tmp_path / "other").rglob("*") if p.is_file()}

    before = content()
    assert _merge(folder, tmp_path / "other", tmp_path / "part") == 2
    assert "holds answers of another run (different: model)" in capsys.readouterr().err
    assert _merge(folder, tmp_path / "other", tmp_path / "foreign") == 2 and content() == before
    capsys.readouterr()
    assert _merge(folder, tmp_path / "new", tmp_path / "foreign") == 2 and not (tmp_path / "new").exists()
    assert "another benchmark" in capsys.readouterr().err
    (tmp_path / "part" / "run.json").write_text("{")
    assert _merge(folder, tmp_path / "new", tmp_path / "part") == 2
    assert "run.json cannot be read" in capsys.readouterr().err


def test_a_merge_starts_from_what_its_folder_holds_and_an_answer_wins_over_a_fault(made, folder, tmp_path):
    settings, bad = {**SETTINGS, "benchmark": made.digest}, made.questions[0].key
    number = next(n for n in (1, 2) if made.questions[0] in Shard(n, 2).share(made.questions, made.folder))
    one, two = tmp_path / "one", tmp_path / "two"
    evaluate(made, Faulty({bad}), one, settings, variants=("base",), shard=Shard(number, 2))
    evaluate(made, StandIn(oracle), two, settings, variants=("base",), shard=Shard(3 - number, 2))
    assert _merge(folder, one, two) == 0  # into the folder of the one part
    results = json.loads((one / "results.json").read_text())["models"]["base"]["generate"]
    assert results["questions"] == len(made.questions) - 1 and results["errors"] == [f"{bad}: its image is broken"]
    assert f"base, generate: {bad}: its image is broken." in (one / "report.md").read_text()
    evaluate(made, StandIn(oracle), tmp_path / "mended", settings, variants=("base",), shard=Shard(number, 2))
    assert _merge(folder, one, tmp_path / "mended") == 0
    results = json.loads((one / "results.json").read_text())["models"]["base"]["generate"]
    assert results["questions"] == len(made.questions) and not results["errors"]
