"""`evaluate --pope` and `--general`: what is asked, how answers are read and counted, the command on a tiny model."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from tests import tiny
from tests.train.seen.seen_data import write_seen
from train.__main__ import main
from train.mini.language import text_only
from train.probes import presence, text_checks
from train.seen.known.tags import read_seen

LOOKS = (
    {"glasses": "glasses", "facial_hair": "beard"},
    {"makeup": "strong", "earrings": "yes", "glasses": "sunglasses"},
    {"glasses": "glasses", "headwear": "cap"},
    {"makeup": "light", "earrings": "yes"},
    {"facial_hair": "stubble"},  # neither a beard nor none
    {},
    {"glasses": "glasses", "facial_hair": "beard"},
)


@pytest.fixture
def tags(tmp_path):
    rows = []
    for number in range(14):
        path = tmp_path / "data" / "mine" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        tiny.picture(number, 64).save(path)
        rows.append({"file": f"mine/{number}.png", **LOOKS[number % len(LOOKS)]})
    write_seen(tmp_path / "data" / "seen", rows)
    return tmp_path / "data" / "seen"


def test_as_many_absent_things_as_present_ones_and_only_known_ones(tags):
    faces = list(read_seen(tags).values())
    chosen = presence.choose(faces)
    by_file = {face.file: face for face in faces}
    for probes in chosen.values():
        assert 2 * sum(probe.right for probe in probes) == len(probes) > 0
        for probe in probes:
            assert presence.THINGS[probe.thing].known(by_file[probe.file]) is probe.right
        assert not [probe for probe in probes if probe.file in ("mine/4.png", "mine/5.png")]  # nothing is there
    present = [{p.key for p in probes if p.right} for probes in chosen.values()]
    assert present[0] == present[1] == present[2]
    # Of a face with make-up and earrings alone glasses are the most frequent absent thing; such faces wear sunglasses.
    absent = {s: [p.thing for p in chosen[s] if p.file == "mine/3.png" and not p.right] for s in chosen}
    assert absent["popular"][0] == "glasses" and set(absent["adversarial"]) == {"glasses", "sunglasses"}
    beard = [p.thing for p in chosen["adversarial"] if p.file == "mine/2.png" and not p.right]
    assert "beard" in beard  # a cap with glasses: beards go with glasses
    assert presence.choose(faces, seed=1)["random"] != chosen["random"]


@pytest.mark.parametrize(
    ("text", "thing", "said"),
    [
        ("Yes.", "hat", True),
        ("No, she does not wear any earrings.", "earrings", False),
        ("He wears a beanie.", "hat", True),
        ("There are no glasses.", "glasses", False),
        ("Probably not.", "beard", False),
        ("The light is soft.", "make-up", None),
    ],
)
def test_yes_and_no_are_read(text, thing, said):
    assert presence.yes_or_no(text, thing) is said


def test_scores_of_models_of_known_skill(tags):
    faces = list(read_seen(tags).values())
    probes = presence.choose(faces)["random"]
    knowing = presence.scores(probes, {p.key: "Yes." if p.right else "No." for p in probes})
    assert knowing["accuracy"]["value"] == knowing["f1"] == 1.0 and knowing["yes"]["value"] == 0.5
    agreeing = presence.scores(probes, {p.key: "yes" for p in probes})
    assert agreeing["accuracy"]["value"] == agreeing["precision"] == 0.5 and agreeing["recall"] == 1.0
    assert all(rate["value"] == 1.0 for rate in agreeing["things"].values())
    silent = presence.scores(probes, {p.key: "Blue." for p in probes})
    assert silent["accuracy"]["count"] == 0 and silent["unread"] == len(probes) and silent["precision"] is None


def test_descriptions_are_counted_as_chair_does(tags):
    faces = list(read_seen(tags).values())[:2]
    said = {
        faces[0].file: ["A man with a full beard and a hat.", "A man who wears glasses, without a hat."],
        faces[1].file: ["A woman with earrings and heavy make-up.", "The light is soft."],
    }
    found = presence.descriptions(faces, said)
    assert (found["mentions"]["count"], found["mentions"]["total"]) == (1, 5)
    assert (found["texts"]["count"], found["texts"]["total"]) == (1, 4)
    assert {name for name, own in found["things"].items() if own["count"]} == {"hat"}
    # beard and glasses of the first; earrings and make-up, but not (sun)glasses of the second
    assert (found["told"]["count"], found["told"]["total"]) == (4, 6)


def test_general_checks_pass_right_answers_and_no_others():
    checks = text_checks.checks(64)
    assert len({check.prompt for check in checks}) == 64
    assert Counter(check.kind for check in checks) == dict.fromkeys(text_checks.KINDS, 16)
    many = text_checks.checks(1200)  # more than there are of some kinds: others fill up
    assert len({check.prompt for check in many}) == 1200 and sum(c.kind == "instruction" for c in many) < 300
    assert not set(text_only.prompts("trained")) & {check.prompt for check in many}
    for check in checks:
        assert not check.passes("I do not know.")
    rng = random.Random(1)
    prompt, passes = text_checks.tool_choice(rng, "kept_out")
    names = prompt.split(": ")[1].split(". ")[0].split(", ")
    assert sum(passes(name) for name in names) == 1 and not passes(", ".join(names))
    _, passes = text_checks.plain_sum(random.Random(0), "kept_out")
    assert not passes("It is 1000000.")
    prompt, passes = text_checks.json_prompt(random.Random(1), "kept_out")
    pairs = [part.strip(" .").split(" ") for part in prompt.split(":")[1].split(",")]
    assert passes(json.dumps(dict(pairs))) and not passes("{}")
    prompt, passes = text_checks.order(random.Random(1), "kept_out")
    words = prompt.split(":")[1].strip(" .").split(", ")
    assert passes(", ".join(sorted(words))) and not passes(", ".join(sorted(words, reverse=True)))


def test_the_command_compares_base_and_facellm_and_goes_on(tags, folders, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["evaluate", "--pope", str(tags), "--general", "--both", "--model", str(folders.base), "--adapter",
               str(folders.adapter), "--device", "cpu", "--dtype", "float32", "--limit", "12", "--max-new-tokens", "4",
               "--out", str(out)]  # fmt: skip
    assert main(command) == 0
    results = json.loads((out / "results.json").read_text())
    assert set(results["pope"]) == set(results["chair"]) == {"base", "facellm"}
    assert set(results["pope"]["base"]) == set(presence.STRATEGIES) == set(results["pope_paired"])
    assert set(results["general"]) == {*text_checks.KINDS, "overall"}
    assert results["general"]["overall"]["models"]["facellm"]["total"] == 12
    said = capsys.readouterr()
    assert "Is it there? (POPE)" in said.out and "Without a picture" in said.out and "CHAIR_s" in said.out
    assert "facellm-chair" in said.err  # progress
    before = {path: path.read_bytes() for path in (out / "answers").iterdir()}
    assert len(before) == 6 and main(command) == 0
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to ask"),
        (["bench", "--general"], "questions of their own"),
        (["--general", "--permute"], "--permute is about a benchmark"),
        (["--general", "--tiles", "2"], "--tiles is about a benchmark"),
        (["--pope", "nowhere"], "no seen.csv in nowhere"),
    ],
)
def test_what_cannot_be_is_told(tmp_path, capsys, arguments, words):
    assert main(["evaluate", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err


def test_faces_with_nothing_and_missing_pictures_are_told(tags, tmp_path, capsys):
    write_seen(tmp_path / "bare", [{"file": "mine/1.png"}])
    assert main(["evaluate", "--pope", str(tmp_path / "bare"), "--out", str(tmp_path / "out")]) == 2
    assert "there is nothing to ask" in capsys.readouterr().err
    assert (
        main(["evaluate", "--pope", str(tags), "--images", str(tmp_path / "bare"), "--out", str(tmp_path / "o")]) == 2
    )
    assert "There is no picture mine/0.png" in capsys.readouterr().err
