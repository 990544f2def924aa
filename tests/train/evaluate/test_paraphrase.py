"""`evaluate --paraphrase`: the same questions in words kept out of training, and what they cost."""

from __future__ import annotations

import random

import pytest

from tests.train.evaluate.stand_ins import SETTINGS, StandIn, oracle
from train.evaluate.answering import Arm, other_words
from train.evaluate.evaluate import evaluate
from train.faces.rewording import WORDINGS, reworded, table
from train.faces.tasks import TASKS


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_every_wording_keeps_places_and_says_nothing_that_was_trained_on(task):
    words = table()
    own = words["tasks"][task.name]
    trained = {w.lower() for cuts in own["labels"].values() for w in cuts["trained"]}
    trained |= {w.lower() for w in (*words["distractors"]["trained"], *own["questions"]["trained"], *task.questions)}
    rng = random.Random(0)
    for label in task.labels:
        options, right = task.options_for(label, rng)
        found = [reworded(task.name, options, right, number) for number in range(1, WORDINGS + 1)]
        assert len({text for text, _ in found}) == len({shown for _, shown in found}) == WORDINGS
        for text, shown in found:
            assert not trained & {text.lower(), *(option.lower() for option in shown)}
            name = label if label in own["labels"] else task.words[label]
            assert shown[right] in own["labels"][name]["kept_out"]
            never = [place for place, option in enumerate(shown) if option in words["distractors"]["kept_out"]]
            decoys = [place for place, option in enumerate(options) if option in task.decoys]
            assert never == (decoys or [len(options)])


def test_what_has_no_other_words_keeps_its_own(made):
    worded = {q.key: other_words(q, 1) for q in made.questions}
    assert {q.task for q in made.questions if worded[q.key]} == {"age", "gender", "race", "expression"}
    assert all(q.num_images == "single" for q in made.questions if worded[q.key])
    # Two names of one group, a group that has no other words, and a right "None of the above" that names no label.
    assert reworded("race", ["Asian", "East Asian"], 0, 1) is None
    assert reworded("race", ["White", "Middle Eastern"], 0, 1) is None
    assert reworded("gender", ["Male", "Female", "Both", "None of the above"], 3, 1) is None


def test_a_model_that_knows_only_the_usual_words_is_found_out(made, tmp_path):
    usual = {"East Asian"} | {option for task in TASKS.values() for option in (*task.words.values(), *task.decoys)}

    def rule(question, arm):
        known = arm.variant == "facellm" or all(option in usual for option in question.options)
        return oracle(question, arm) if known else "no idea"

    results = evaluate(
        made, StandIn(rule), tmp_path, SETTINGS, variants=("base", "facellm"), paraphrase=True, permute=True
    )
    base, tuned = (results["wordings"][name]["generate"] for name in ("base", "facellm"))
    kept = base["overall"]["as_asked"]
    assert kept["total"] + base["without"] == len(made.questions)
    drop = base["overall"]["largest_drop"]
    assert drop["gain"] == -kept["value"] and drop["low"] <= drop["gain"] < drop["high"] < 0
    assert base["overall"]["right_in_all"]["count"] == 0
    assert tuned["overall"]["largest_drop"]["gain"] == 0 and tuned["overall"]["right_in_all"]["value"] == 1
    assert set(base["tasks"]) == {"age", "gender", "race", "expression"}
    report = (tmp_path / "report.md").read_text()
    assert "Other words cost base (generate) at most" in report and "Other words, never trained on: FaceLLM" in report
    # The other orders of options are of the questions as they stand.
    assert results["permuted"]["facellm"]["generate"]["steady"]["value"] == 1


def test_parts_with_wordings_are_put_together(tmp_path, made):
    from train.evaluate.sharding import Shard, read_parts

    for number in (1, 2):
        part = {"paraphrase": True, "shard": Shard(number, 2), "variants": ("base",)}
        evaluate(made, StandIn(oracle), tmp_path / str(number), SETTINGS, **part)
    merged = read_parts([tmp_path / "1", tmp_path / "2"], tmp_path / "all")
    assert {arm.wording for arm in merged.replies} == {0, 1, 2, 3}
    assert merged.replies[Arm("base", "generate", wording=2)]
