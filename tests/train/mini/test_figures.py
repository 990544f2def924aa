"""The table's figures: what counts as right."""

from __future__ import annotations

import random

import torch

from facellm.labels import AGE_GROUPS
from train.faces.tasks import TASKS
from train.mini.vision import figures
from train.seen.known import tags


def test_age_among_neighbours_is_what_the_tasks_would_draw() -> None:
    torch.manual_seed(0)
    logits, truth = torch.randn(300, len(AGE_GROUPS)), torch.randint(0, len(AGE_GROUPS), (300,))
    rng, right = random.Random(0), 0
    draws = 40
    for _ in range(draws):
        for line, label in zip(logits, truth.tolist(), strict=True):
            options, answer = TASKS["age"].options_for(AGE_GROUPS[label], rng)
            right += max(range(4), key=lambda i, o=options, s=line: s[AGE_GROUPS.index(o[i])]) == answer
    assert abs(figures._among_neighbours(logits, truth) - right / draws / len(truth)) < 0.02


def test_words_that_say_so_are_added_up() -> None:
    words = tags.WORDS["headwear"]
    logits = torch.full((2, len(words)), -9.0)
    logits[0] = torch.tensor([0.4, *[(0.6 / (len(words) - 1))] * (len(words) - 1)]).log()
    logits[1, 0] = 9.0
    found = figures._yes_or_no("headwear", logits, torch.tensor([1, 0]))
    assert found == {"headwear_yes_no": 1.0, "headwear_f1": 1.0}


def test_faces_and_others() -> None:
    face, none = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert figures.face_or_not(face, {"chart": none}) == {"faces_missed": 0.0, "none_chart": 0.5}
