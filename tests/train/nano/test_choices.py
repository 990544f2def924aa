"""Multiple choice and profile answers: the letter and the label are those of the face."""

import random

import pytest

from facellm.profile import FIELDS
from tests.train.nano.teacher import read
from train.faces.tasks import TASKS
from train.nano.language import choices, general


def names(task, label):
    """What an option may call the label."""
    return {TASKS[task].words[label], *([label] if task == "headpose" else [])}


@pytest.mark.parametrize("name", list(TASKS))
def test_the_letter_of_a_choice_is_that_of_the_label(name):
    found = read(yaw=20)
    rng = random.Random(1)
    for _ in range(50):
        ((question, answer),) = choices.multiple_choice(name, found, rng)
        label = choices.task_label(name, found)
        letter = answer.strip("(")[0]
        line = next(line for line in question.splitlines() if line.startswith(f"({letter})"))
        options = {line[4:] for line in question.splitlines() if line.startswith("(")}
        if options & names(name, label):
            assert line[4:] in names(name, label)
        else:
            assert line.endswith("None of the above")


@pytest.mark.parametrize("name", list(TASKS))
def test_the_steps_of_a_choice_agree_with_its_letter(name):
    found, rng = read(yaw=20), random.Random(2)
    right = names(name, choices.task_label(name, found))
    for _ in range(20):
        ((question, named),) = choices.multiple_choice(name, found, rng, "name")
        assert named[:-4] in right and f"{named[-3:]} {named[:-4]}" in question.splitlines()
        ((question, checked),) = choices.multiple_choice(name, found, rng, "check")
        said = dict(part.split(" ") for part in checked.split(", "))
        options = [line for line in question.splitlines() if line.startswith("(")]
        assert [said[line[1]] == "yes" for line in options] == [line[4:] in right for line in options]


def test_profile_answers_are_labels_of_their_field():
    found = read(yaw=20)
    for field in FIELDS:
        pair = choices.profile_answer(field.key, found, random.Random(0), eyes="open")
        if pair:
            assert pair[0][0] == field.question and pair[0][1] in field.labels


def test_a_told_label_leads_to_its_letter():
    rng = random.Random(0)
    for _ in range(200):
        ((question, answer),) = general.text_choice(rng)
        first, *options = [line for line in question.splitlines() if not line.startswith("Please")]
        right = options["ABCD".index(answer.strip("(")[0])].split(") ", 1)[1]
        assert len(options) == 4 and right in first
