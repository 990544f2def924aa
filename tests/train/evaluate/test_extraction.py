"""Letters read from answers: ours, and the published scorer with its mistakes, on answers written by hand."""

from __future__ import annotations

import pytest

from train.evaluate.extraction import extract, extract_published, is_refusal

AGES = ("20-29", "30-39", "None of the above", "40-49")
GENDERS = ("Male", "Female", "Both", "None of the above")
LOWER = ("male", "female", "both", "neither")
MOODS = ("neutral", "happy", "sad", "anger")
NAMED = ("Person B", "Person A", "Both", "Neither")
COUNTS = ("0", "1", "2", "3")
YOUNG = ("0-2", "20-29", "10-19", "3-9")

# text, options, what it says (ours), what the published scorer reads
ANSWERS = [
    ("A", AGES, "A", "A"),
    ("D", AGES, "D", "D"),
    ("  B \n", AGES, "B", "B"),
    ("B.", AGES, "B", "B"),
    ("B)", AGES, "B", "B"),
    ("(B)", AGES, "B", "B"),
    ("[C]", AGES, "C", "C"),
    ("**C**", AGES, "C", "C"),
    ("`D`", AGES, "D", "D"),
    ("*B*.", AGES, "B", "B"),
    ("c", AGES, "C", None),
    ("(b)", AGES, "B", None),
    ("d.", AGES, "D", None),
    ("a", AGES, "A", None),
    ("E", AGES, None, None),
    ("Option B", AGES, "B", "B"),
    ("option b", AGES, "B", None),
    ("Option (B)", AGES, "B", "B"),
    ("B: 30-39", AGES, "B", "B"),
    ("B - 30-39", AGES, "B", "B"),
    ("(B) 30-39", AGES, "B", "B"),
    ("B. 30-39", AGES, "B", "B"),
    ("B\n\nThe person looks about thirty.", AGES, "B", "B"),
    ("The answer is D.", AGES, "D", "D"),
    ("The answer is (D)", AGES, "D", "D"),
    ("The correct answer is: **B**", AGES, "B", "B"),
    ("The correct option is C", AGES, "C", "C"),
    ("Answer: D", AGES, "D", "D"),
    ("answer: d", AGES, "D", None),
    ("Final answer: \\boxed{B}", AGES, "B", "B"),
    ("I would choose B.", AGES, "B", "B"),
    ("I'll go with option D.", AGES, "D", "D"),
    ("The best choice is B, because of the wrinkles.", AGES, "B", "B"),
    # the article "A", read as an option by the published scorer
    ("A middle-aged man is seen, so the answer is C", AGES, "C", "A"),
    ("A middle-aged man, about 40-49. C", AGES, "C", "A"),
    ("A person in their thirties: 30-39.", AGES, "B", "A"),
    ("A young woman with a happy face.", MOODS, "B", "A"),
    ("A woman. The answer is B.", GENDERS, "B", "A"),
    ("I think C", AGES, "C", "C"),
    ("I think it is B", AGES, "B", "B"),
    ("I see a face. Option D", AGES, "D", "D"),
    ("It is a type A picture of a person who is 30-39", AGES, "B", "A"),
    # options quoted
    ("None of the above", AGES, "C", "C"),
    ("none of the above", AGES, "C", None),
    ("None of the above.", GENDERS, "D", "D"),
    ("30-39", AGES, "B", "B"),
    ("The person is 40-49 years old.", AGES, "D", "D"),
    ("Female", GENDERS, "B", "B"),
    ("The person is Female.", GENDERS, "B", "B"),
    ("female", GENDERS, "B", None),
    ("The person is female.", LOWER, "B", "A"),
    ("female", LOWER, "B", "A"),
    ("The age group is 20-29.", YOUNG, "B", "A"),
    ("20-29", YOUNG, "B", "A"),
    ("The person is between 10-19.", YOUNG, "C", "C"),
    ("Happy", MOODS, "B", None),
    ("The expression is sad", MOODS, "C", "C"),
    ("2", COUNTS, "C", "C"),
    ("There are 3 images.", COUNTS, "D", "D"),
    ("There are 12 images.", COUNTS, None, "B"),
    # refusals and nothing
    ("", AGES, None, None),
    ("I'm sorry, but I can't help with identifying people.", GENDERS, None, None),
    ("I cannot determine the gender of the person.", GENDERS, None, None),
    ("As an AI, I am unable to guess ages.", AGES, None, None),
    ("I'm sorry, I can't tell whether Male or Female.", GENDERS, None, "A"),
    ("I can't be certain, but the answer is B.", GENDERS, "B", "B"),
    ("The weather is nice.", MOODS, None, None),
    ("It could be happy or sad.", MOODS, None, "B"),
    # reasoning: its last word counts
    ("(A) is wrong, since the skin is smooth. (B) fits. Answer: B", AGES, "B", "A"),
    ("Step 1: option A is too young. Step 2: so the answer is D", AGES, "D", "A"),
    ("Neither A nor B fits.\nAnswer: D", AGES, "D", "A"),
    ("The answer is A man in his thirties, 30-39", AGES, "B", "A"),
    ("Either (A) or (B)", AGES, None, "A"),
    ("It is D&G glasses, 30-39", AGES, "B", "D"),
    # people who are named by letters
    ("None of the other images show person A.", AGES, None, "A"),
    ("Images 2 and 3 show person A.", AGES, None, "A"),
    ("It shows person B", AGES, None, "B"),
    ("It shows Person B.", NAMED, "A", "B"),
    ("Both show person A and B.", AGES, None, "A"),
    ("Subjects A, B or C", AGES, None, "A"),
    ("The individual is shown twice: C", AGES, "C", "C"),
    ("Person A is shown twice. The answer is D.", AGES, "D", "A"),
    ("Person A is shown twice, so (D) fits", AGES, "D", "A"),
    ("It isn't 'B' but I'd say\nD", AGES, "D", "B"),
]


def test_enough_answers():
    assert len(ANSWERS) >= 60
    assert sum(ours != theirs for _, _, ours, theirs in ANSWERS) >= 15


@pytest.mark.parametrize(("text", "options", "ours", "theirs"), ANSWERS)
def test_letter(text, options, ours, theirs):
    assert extract_published(text, options) == theirs
    assert extract(text, options).letter == ours


def test_published_reads_lone_letters_anywhere_but_only_capitals_that_are_options():
    assert extract_published("I", AGES) is None  # "I" is no option of four
    assert extract_published("I", tuple("123456789")) == "I"  # but it is of nine
    assert extract_published("x B y C", AGES) == "B"
    assert extract_published("don't know", AGES) is None  # the t of don't is small


def test_published_takes_the_first_option_whose_text_occurs():
    assert extract_published("sad, not happy", MOODS) == "B"
    assert extract_published("anything", ("", "b")) == "A"  # an empty option occurs in everything


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("I'm sorry, but I can't assist with that.", True),
        ("I’m sorry, I cannot identify this person.", True),
        ("Sorry, no.", True),
        ("As an AI language model, I do not guess.", True),
        ("I am not able to determine the race of the person.", True),
        ("It is not possible to determine the age.", True),
        ("I won't speculate, but B", False),
        ("He looks sorry.", False),
        ("The person cannot be older than 20-29: B", False),
        ("The light cannot hide the wrinkles. C", False),
        # of one property: an answer about it
        ("The exact age cannot be determined from this image.", False),
        ("The head pose cannot be determined with confidence.", False),
        ("Colour cannot be judged in a black-and-white picture.", False),
        ("The light cannot be used to tell the age.", False),
        ("It serves as an aid.", False),
        # of the whole question
        ("I cannot determine the age from this image.", True),
        ("I'm unable to determine that.", True),
        ("I cannot help with identifying people.", True),
        ("Unable to judge.", True),
        ("As an AI, no.", True),
        ("B", False),
    ],
)
def test_refusal(text, refused):
    assert is_refusal(text) is refused


def test_refusal_is_reported_beside_the_letter():
    found = extract("I'm sorry, I can't be sure. Answer: C", AGES)
    assert (found.letter, found.refused) == ("C", True)
    assert extract("I can't help with that.", AGES).how == "refused"
    assert extract("It could be happy or sad.", MOODS).how == "several options"
    assert extract("Nothing here.", MOODS).how == "nothing"
