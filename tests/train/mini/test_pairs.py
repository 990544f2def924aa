"""What is written about a face: true to its tags, in agreement with itself, varied, the same for the same seed."""

from __future__ import annotations

import json
import random
import re
from collections import Counter

import pytest

from facellm.attributes import ATTRIBUTES
from facellm.claims import conflicts
from facellm.profile import KNOWN_FIELDS, TRAITS
from tests.train.seen.made_faces import face, varied
from train.mini.language import face_conversations, fact_lines, profile_answers, yes_or_no
from train.mini.language.balance import Balance
from train.seen.claims import assertions, comparison
from train.seen.claims.disputes import truth_of
from train.seen.descriptions import eight, forms, whole
from train.seen.typed import typed_answers, wordings
from train.seen.typed.dialogues import converse, described
from train.seen.words.lexicon import Voice

FACES = varied()
BALANCE = Balance.of(truth_of(made) for made in FACES)


def told(made, seed=0):
    truth = truth_of(made)
    return truth, Voice(truth, random.Random(seed))


def test_intents_have_wordings_of_both_cuts_and_answers():
    every = wordings.wordings()
    assert len(every) >= 50
    for intent, cuts in every.items():
        assert set(cuts) == set(wordings.CUTS)
        assert len(cuts["trained"]) + len(cuts["kept_out"]) >= 10
        trained, kept = ({wording.lower() for wording in cuts[cut]} for cut in wordings.CUTS)
        assert not trained & kept, intent
        assert abs(len(trained) - len(kept)) <= 2, intent
    assert set(typed_answers.ABOUT_FACE) <= set(every)


def test_pairs_of_a_face_are_the_same_for_the_same_seed_and_differ_by_face():
    one = [face_conversations.pairs_of(made, BALANCE) for made in FACES]
    assert one == [face_conversations.pairs_of(made, BALANCE) for made in FACES]
    assert one[0] != face_conversations.pairs_of(FACES[0], BALANCE, seed=1)
    for conversations in one:
        assert len(conversations) > 12
        for turns in conversations:
            for question, answer in turns:
                assert question.strip() and answer.strip() and "{" not in question
                assert not re.search(r"\bNone\b(?! of|:|\.|,| that)|\[|\]|\{(?!\")|  |\.\.", answer), answer
                assert answer[0].isupper() or answer[0] in '({"0123456789' or len(answer) < 60, answer


def test_the_eight_answers_are_there_in_order_and_agree():
    for made in FACES:
        truth, voice = told(made)
        found = eight.write(truth, voice, random.Random(1))
        assert list(found) == [a.key for a in ATTRIBUTES if a.key in found] and len(found) >= 7
        reading = assertions.read(" ".join(found.values()))
        assert not comparison.falsehoods(truth, reading), (made.file, found)
        assert "age" not in conflicts(" ".join(found.values())), found
        for key, text in found.items():
            assert text.endswith(".") and len(text.split()) >= 6, (key, text)
            assert key == "demographic" or not assertions.ethnicities(text)


def test_written_answers_are_used_as_they_are_but_for_unasked_ethnicity():
    written = {"skin": "The skin is pale and clear.", "detail": "An Asian woman with black hair looks at a White man."}
    made = face(gender="Female")
    truth, voice = told(type(made)(**{**vars(made), "answers": written}))
    found = eight.write(truth, voice, random.Random(0))
    assert found["skin"] == written["skin"]
    assert found["detail"] == "A woman with black hair looks at a man."
    assert eight.write(truth, voice, random.Random(0), composed=True)["skin"] != written["skin"]


def test_descriptions_are_long_enough_and_no_two_alike():
    texts = []
    for seed in range(4):
        for made in FACES[len(FACES) // 2 :]:
            truth, voice = told(made, seed)
            texts.append(whole.write(truth, voice, random.Random(seed)))
    assert sum(len(text.split()) for text in texts) / len(texts) >= 35
    assert len(set(texts)) > 0.95 * len(texts)


def test_a_caption_is_mended_where_its_age_misses_the_label():
    made = face(years=31.0, caption="A calm man in his fifties with short dark hair looks ahead, grey wall behind.")
    truth, voice = told(made)
    text = whole.write(truth, voice, random.Random(0))
    assert "fifties" not in text and "early thirties" in text
    child = face(years=4.0, caption="An elderly man with white hair looks ahead.")
    truth, voice = told(child)
    assert "elderly" not in (whole.write(truth, voice, random.Random(0)) or "")


def test_yes_and_no_come_out_equal_over_many_faces():
    balance = Balance({"glasses": {"yes": 10, "no": 90}})
    truths = [truth_of(face(glasses="glasses"))] * 10 + [truth_of(face())] * 90
    rng = random.Random(0)
    kept = Counter(
        truth.holds("glasses") for _ in range(40) for truth in truths if balance.keeps("glasses", truth, rng)
    )
    assert 0.8 < kept[True] / kept[False] < 1.25


@pytest.mark.parametrize("wanted", [True, False])
def test_arguments_give_the_answer_that_is_wanted(wanted):
    truth = truth_of(face(hair_colour="blond", gender="Female"))
    for intent in typed_answers.WITH_ARGUMENT:
        argument = typed_answers.argument_of(intent, truth, random.Random(1), wanted)
        assert truth.holds(intent, argument) is wanted


def test_facts_that_the_caption_denies_are_neither_scored_nor_firm():
    truth = truth_of(face(caption="A man with a hint of stubble and glasses, looking calm."))
    assert truth.holds("glasses") is None and truth.holds("facial_hair") is None
    assert truth_of(face()).holds("glasses") is False


def test_a_tower_softens_what_it_cannot_see_and_tells_what_nobody_tagged():
    unsure = face(glasses="glasses").with_probabilities({"glasses": {"glasses": 0.2, "none": 0.8}})
    assert truth_of(unsure).value("glasses") == "glasses" and not truth_of(unsure).sure("glasses")
    unheard = face(glasses="glasses").with_probabilities({"glasses": {"glasses": 0.01, "none": 0.99}})
    assert truth_of(unheard).value("glasses") is None
    made = face()
    bare = type(made)(file="utkface/train/2.jpg", years=30.0, gender="Male")
    seen = bare.with_probabilities({"glasses": {"glasses": 0.95, "none": 0.05}, "teeth": {"yes": 0.6, "no": 0.4}})
    assert truth_of(seen).holds("glasses") is True and truth_of(seen).value("teeth") is None
    assert face_conversations.pairs_of(seen, BALANCE)


def test_what_is_unsure_is_hedged_and_what_is_firm_is_not():
    unsure = face(hair_colour="red").with_probabilities({"hair_colour": {"red": 0.2, "brown": 0.8}})
    truth, voice = told(unsure)
    hedged = [typed_answers.answer("hair_colour", truth, voice, random.Random(seed)) for seed in range(20)]
    assert all(re.search("think|as far as|not certain|rightly", text) for text in hedged)
    truth, voice = told(face(hair_colour="red"))
    assert not any(
        re.search(
            "think|as far as|not certain|rightly",
            typed_answers.answer("hair_colour", truth, voice, random.Random(seed)),
        )
        for seed in range(20)
    )
    disputed = truth_of(face(caption="A man with a hint of stubble, looking calm."))
    text = typed_answers.answer("facial_hair", disputed, Voice(disputed, random.Random(0)), random.Random(0))
    assert re.search("hard to tell|not certain|can't be sure", text)


def test_json_and_fact_lines_hold_what_is_true():
    truth, _ = told(FACES[1])
    keys = forms.json_keys(truth, random.Random(2))
    assert list(json.loads(forms.as_json(keys, truth))) == keys
    question, line = fact_lines.line(truth, BALANCE, random.Random(2))
    assert question and len(re.split(r"[;,\n]", line)) >= 3 and "Glasses: no" not in line


def test_a_sheet_holds_every_known_fact_in_the_order_that_is_asked():
    for made in FACES:
        truth = truth_of(made)
        known = [key.replace("_", " ") for key in fact_lines.KEYS if forms.json_value(key, truth) is not None]
        for seed in range(4):
            told_ = face_conversations.pairs_of(made, BALANCE, seed, face_conversations.SHEET)
            assert len(told_) == (1 if len(known) >= fact_lines.LEAST else 0), "a sheet and nothing else"
            for [(question, answer)] in told_:
                keys = [part.partition(":")[0].lower() for part in re.split(r"; |\n|, (?=[A-Z])", answer)]
                assert sorted(keys) == sorted(known)
                named = [key for key in keys if key in question]
                assert keys == (sorted(keys, key=question.index) if len(named) == len(keys) else known)


def test_bare_answers_are_true(monkeypatch):
    monkeypatch.setattr(yes_or_no.wordings, "ask", lambda intent, *_: intent)
    said = Counter()
    for made in FACES:
        truth, voice = told(made)
        for seed in range(10):
            turns = yes_or_no.turns(truth, voice, BALANCE, random.Random(seed))
            asked = [question for question, _ in turns]
            if asked:  # the first one says what is wanted
                opening = next(o for o in yes_or_no.OPENINGS if asked[0].startswith(o.partition("{")[0]))
                asked[0] = asked[0].removeprefix(opening.partition("{")[0])
            assert len(set(asked)) == len(asked)
            for intent, (_, answer) in zip(asked, turns, strict=True):
                assert answer.strip(".") == ("Yes" if truth.holds(intent) else "No")
                said[answer.strip(".")] += 1
    assert min(said.values()) > 50 and 0.6 < said["Yes"] / said["No"] < 1.6


def test_conversations_have_turns_that_need_the_one_before():
    seen = Counter()
    for made in FACES:
        truth, voice = told(made)
        for seed in range(6):
            turns = converse(truth, voice, random.Random(seed)) or []
            assert not turns or 2 <= len(turns) <= 5
            seen.update(question.lower().rstrip("?.!") for question, _ in turns)
        found = described(truth, voice, random.Random(1))
        assert found is None or len(found) == 2
    assert any(word in seen for word in ("why", "are you sure", "how can you tell", "sure", "really", "is that right"))


def test_the_profile_is_answered_with_labels_of_its_fields():
    by_question = {field.question: field for field in KNOWN_FIELDS}
    told: dict[str, set[str]] = {}
    for made in (*FACES, face(glasses="sunglasses", headwear="turban", facial_hair="goatee", hair_colour="white")):
        for ((question, label),) in profile_answers.pairs(truth_of(made), random.Random(0), 99):
            assert label in by_question[question].labels
            told.setdefault(by_question[question].key, set()).add(label)
    assert {f.key for f in TRAITS} | {"age_group", "gender", "expression", "pose", "mouth", "eyes"} <= set(told)
    assert "sunglasses" in told["glasses"] and "headscarf" in told["headwear"] and "grey" in told["hair_colour"]
