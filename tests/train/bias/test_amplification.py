"""Amplification and words: the papers' measures on examples small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from train.bias import amplification as amp
from train.bias.distinctive_words import by_group, log_odds, words_of
from train.bias.traits import named_in, trait_matrix, traits_of

# Two groups of four images; the trait holds for three of the first and one of the second.
GROUPS = np.array([[1, 0]] * 4 + [[0, 1]] * 4)
TRAIT = np.array([[1], [1], [1], [0], [1], [0], [0], [0]])


def directional(groups, said_groups, traits, said_traits):
    data = amp.count(groups, traits)
    return (
        amp.directional(data, amp.group_to_trait(data, amp.count(groups, said_traits))),
        amp.directional(data, amp.trait_to_group(data, amp.count(said_groups, traits))),
    )


def test_directional_amplification_by_hand():
    # P(a1, t) = 3/8 > 1/2 * 1/2, so a1 and t are tied, a2 and t are not. Said: all of a1, none of a2:
    # +(4/4 - 3/4) for a1, -(0/4 - 1/4) for a2: 1/4.
    said = np.array([[1]] * 4 + [[0]] * 4)
    forward, backward = directional(GROUPS, GROUPS, TRAIT, said)
    assert forward == pytest.approx(0.25) and backward == 0
    # The only image of a2 with the trait is called a1: P(said a1 | t) - P(a1 | t) = 4/4 - 3/4, and -(0 - 1/4): 1/4.
    called = GROUPS.copy()
    called[4] = [1, 0]
    forward, backward = directional(GROUPS, called, TRAIT, TRAIT)
    assert forward == 0 and backward == pytest.approx(0.25)


def test_directions_are_told_apart_and_errors_can_lessen_a_tie():
    # Said: two of each group: -(1/4) for a1, and -(2/4 - 1/4) for a2.
    said = np.array([[1], [1], [0], [0], [1], [1], [0], [0]])
    assert directional(GROUPS, GROUPS, TRAIT, said)[0] == pytest.approx(-0.25)
    assert directional(GROUPS, GROUPS, TRAIT, TRAIT) == (0, 0)


def test_two_traits_are_averaged():
    # The second trait: 1 of a1, 3 of a2; said as it is. The mean over four pairs is half of the first trait's.
    traits = np.hstack([TRAIT, TRAIT[::-1]])
    said = traits.copy()
    said[:, 0] = [1, 1, 1, 1, 0, 0, 0, 0]
    assert directional(GROUPS, GROUPS, traits, said)[0] == pytest.approx(0.125)


def test_co_occurrence_by_hand():
    # As in "Men also like shopping": cooking goes from 66 to 84 women of 100; repairing from 60 to 70 men of 100.
    def activity(cooking_women, repairing_men):
        people = [[1, 0]] * cooking_women + [[0, 1]] * (100 - cooking_women)
        people += [[0, 1]] * repairing_men + [[1, 0]] * (100 - repairing_men)
        return amp.count(np.array(people), np.array([[1, 0]] * 100 + [[0, 1]] * 100))

    value, pairs = amp.co_occurrence(activity(66, 60), activity(84, 70))
    assert value == pytest.approx((0.18 + 0.10) / 2)
    assert pairs[0, 0] == pytest.approx(0.18) and pairs[1, 1] == pytest.approx(0.10)
    assert np.isnan(pairs[1, 0]) and np.isnan(pairs[0, 1])  # below one half in the data: not counted
    assert amp.co_occurrence(activity(66, 60), activity(66, 60))[0] == 0


def test_a_trait_that_is_never_said_is_left_out_of_co_occurrence():
    data, said = amp.count(GROUPS, np.hstack([TRAIT, TRAIT])), amp.count(GROUPS, np.hstack([TRAIT, 0 * TRAIT]))
    value, pairs = amp.co_occurrence(data, said)
    assert value == 0 and np.isnan(pairs[:, 1]).all()


def test_resamples_are_counts_of_repeated_images():
    weights = np.array([[1] * 8, [2, 0, 1, 1, 1, 1, 1, 1]], np.float32)
    counts = amp.count(GROUPS, TRAIT, weights)
    plain, repeated = (amp.count(GROUPS[rows], TRAIT[rows]) for rows in (range(8), [0, 0, 2, 3, 4, 5, 6, 7]))
    for index, one in enumerate((plain, repeated)):
        assert counts.joint[index].tolist() == one.joint.tolist() and counts.total[index] == one.total
    said = np.array([[1]] * 4 + [[0]] * 4)
    row = amp.figures((plain, counts), (amp.count(GROUPS, said), amp.count(GROUPS, said, weights)), "ab", "t")[0]
    assert row["measure"] == amp.GROUP_TO_TRAIT and row["value"] == pytest.approx(0.25)
    assert row["low"] <= 0.25 <= row["high"]
    assert row["pairs"][0] == {"group": "a", "trait": "t", "data": 0.75, "said": 1.0, "amplified": 0.25}


# --- traits and words ----------------------------------------------------------------------------------------------


def test_traits_of_a_text():
    text = "A young woman with a happy expression. She looks calm and the picture is soft."
    assert traits_of([text]) == {
        ("expression", "happiness"), ("age word", "young"), ("adjective", "calm"), ("adjective", "soft"),
    }  # fmt: skip
    traits, has = trait_matrix([{"a": "calm"}, {"a": "calm, soft"}, {"a": "It is."}, {"a": "calm"}], 1)
    assert traits == [("adjective", "calm"), ("adjective", "soft")] and has.sum(0).tolist() == [3, 1]
    # What everybody or nobody is called says nothing about groups.
    assert trait_matrix([{"a": "calm"}, {"a": "calm"}], 1) [0] == []  # fmt: skip


def test_labels_named_in_words():
    said = {
        "demographic": "A woman between about 25 and 40 years old. The apparent ethnicity is White.",
        "detail": "A man.",
    }
    assert named_in(said) == {"gender": "Female", "ethnicity": "White", "age_group": "30-39"}
    assert named_in({"detail": "The light is even."}) == {"gender": None, "ethnicity": None, "age_group": None}


def test_log_odds_by_hand():
    # ln[(8 + 5) / (10 + 10 - 8 - 5)] - ln[(2 + 5) / (10 + 10 - 2 - 5)] = 2 ln(13 / 7), over sqrt(1/13 + 1/7).
    found = log_odds({"calm": 8, "bold": 2}, {"calm": 2, "bold": 8}, {"calm": 5, "bold": 5})
    delta, z = found["calm"]
    assert delta == pytest.approx(2 * np.log(13 / 7)) and z == pytest.approx(
        2 * np.log(13 / 7) / np.sqrt(1 / 13 + 1 / 7)
    )
    assert found["bold"] == pytest.approx((-delta, -z))
    # A strong prior pulls a word that was seen twice back to its share in all texts.
    weak, strong = (log_odds({"a": 2, "b": 98}, {"b": 100}, {"a": s, "b": 99 * s})["a"][1] for s in (0.01, 100))
    assert abs(strong) < 0.2 < abs(weak)


def test_label_words_are_stripped_and_words_count_once_an_image():
    text = "A young woman, between 20 and 30 years old. The apparent ethnicity is Asian. She smiles; she's calm, calm."
    assert words_of([text]) == {"young", "between", "and", "the", "apparent", "is", "smiles", "calm"} - {"she's"}
    assert "young" not in words_of([text], by_age=True)


def test_words_by_group_find_the_word_that_differs():
    groups = ["x"] * 60 + ["y"] * 60
    texts = [
        {"d": f"The face is plain. It is {'warm' if i % 60 < (45 if i < 60 else 5) else 'cool'}."} for i in range(120)
    ]
    found = by_group(texts, groups)
    best = next(row for row in found if row["group"] == "x")
    assert best["word"] == "warm" and best["significant"] and best["z"] > 3
    assert best["share"] == 0.75 and best["rest_share"] == pytest.approx(5 / 60)
    assert next(row for row in found if row["group"] == "y" and row["z"] > 0)["word"] == "cool"
    even = [{"d": f"It is {'warm' if i % 2 else 'cool'}."} for i in range(120)]
    assert not any(row["significant"] for row in by_group(even, groups))
    assert by_group([{"d": "It is."}] * 4, ["x"] * 4) == []
