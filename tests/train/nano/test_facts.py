"""What the measured teacher may say: confident labels outright, unsure ones hedged, the middle of a range never."""

import dataclasses
import random

import numpy as np
import pytest

from facellm.profile import FIELDS
from train.evaluation import labelled
from train.evaluation.claims import sentences
from train.evaluation.tasks import TASKS
from train.nano import choices, data, facts, general, person_text, picture_text, wording
from train.nano.questions import facts_as_json
from train.nano.single import single

STATS = np.array([0.45, 0.7, 0.5, 0.5, 0.0])


def reader():
    rng = np.random.default_rng(0)
    return facts.FactReader(STATS + rng.normal(0, 0.1, (500, 5)), rng.normal([0.04, 0.0], 0.01, (500, 2)))


def read(
    *,
    gender=0.99,
    race=0.99,
    expression="happiness",
    believed=0.86,
    smile=0.0,
    yaw=0.0,
    pitch=7.8,
    years=30,
    labelled=True,
    mouth=0.3,
    side=0.0,
    grey=0.45,
    stats=None,
    seen=None,
    seen_mouth=None,
    seen_yaw=None,
    seen_pitch=None,
):
    mesh = dict.fromkeys(data.MEASUREMENTS, 0.0) | {
        "yaw_deg": yaw,
        "pitch_deg": pitch,
        "mouth_open": mouth,
        "smile_lift": smile,
        "eye_open_left": 0.3,
        "eye_open_right": 0.3,
        "brow_raise": 0.2,
        "face_ratio": 0.85,
        "jaw_ratio": 0.81,
        "lip_thickness": 0.16,
        "nose_width": 0.49,
        "mouth_width": 0.6,
    }
    estimates = {"mouth_open": seen_mouth, "yaw_deg": seen_yaw, "pitch_deg": seen_pitch}
    estimates = {name: value for name, value in estimates.items() if value is not None}
    seen_mesh = np.array(list((mesh | estimates).values())) if estimates else None
    face = np.full(8, (1 - believed) / 7)
    face[data.EXPRESSIONS.index(expression)] = believed
    return reader().read(
        mesh=np.array(list(mesh.values())),
        stats=np.array([grey, *STATS[1:]]) if stats is None else stats,
        seen=seen,
        seen_mesh=seen_mesh,
        skin=np.array([0.04, side]),
        probabilities={
            "gender": np.array([1 - gender, gender]),
            "race": np.array([(1 - race) / 2, race, (1 - race) / 2, 0, 0]),
            "expression": face,
        },
        years_expected=float(years),
        labels={
            "gender": 1 if labelled else -1,
            "race": 1 if labelled else -1,
            "age_group": 4 if labelled else -1,
            "age_years": years if labelled else -1,
            "expression": -1,
        },
    )


def test_a_label_that_the_encoder_hardly_believes_is_neither_asked_about_nor_overruled():
    """Here the labels are Female (index 1) and the second ethnicity."""
    believed, doubted = read(gender=0.5, race=0.5), read(gender=0.05, race=0.05)
    assert (believed.gender_label, believed.race_label) == (data.GENDERS[1], data.RACES[1])
    assert (doubted.gender_label, doubted.race_label) == (None, None)
    assert (doubted.gender, doubted.race) == (None, None)
    assert choices.multiple_choice("gender", doubted, random.Random(0)) is None


def test_confident_labels_are_stated():
    found = read()
    assert (found.gender, found.race, found.expression, found.pose) == ("Female", "Black", "happiness", "frontal")


def test_an_unsure_or_contradicted_label_is_not_stated():
    assert read(gender=0.7).gender is None
    assert read(gender=0.02).gender is None  # the encoder is sure of the other label
    unsure = read(race=0.5)
    assert unsure.race is None
    text = wording.WRITERS["demographic"](unsure, random.Random(0))
    assert "Black" not in text and "not clear" in text


@pytest.mark.parametrize(
    ("yaw", "pose"), [(0, "frontal"), (20, "left"), (-20, "right"), (11, None), (float("nan"), None)]
)
def test_pose_is_the_viewers_side_and_unnamed_in_between(yaw, pose):
    assert facts.pose_of(yaw) == pose


@pytest.mark.parametrize(
    ("yaw", "seen", "pose"),
    [
        (2, 3, "frontal"),
        (2, 6, None),
        (2, 15, None),
        (18, 16, "left"),
        (18, 12, None),
        (-18, -16, "right"),
        (18, -16, None),
    ],
)
def test_a_pose_is_stated_where_the_encoder_sees_it_and_asked_about_as_measured(yaw, seen, pose):
    found = read(yaw=yaw, seen_yaw=seen)
    assert (found.pose, found.pose_label) == (pose, facts.pose_of(yaw))
    [(_, answer)] = choices.profile_answer("pose", found, random.Random(0))
    assert answer.startswith("frontal" if yaw == 2 else "turned")


@pytest.mark.parametrize(
    ("pitch", "seen", "said"),
    [
        (8, 9, None),
        (8, 14, None),
        (8, 20, None),
        (20, 18, "the chin is lowered"),
        (20, 8, None),
        (-5, -2, "the chin is raised"),
        (-5, 20, None),
    ],
)
def test_a_chin_that_is_not_level_is_said_where_the_encoder_sees_it(pitch, seen, said):
    """Degrees of the mesh, whose level is 7.8."""
    found = read(pitch=pitch, seen_pitch=seen)
    assert person_text.chin_sentence(found, random.Random(0)) == said
    assert ("chin" in wording.WRITERS["pose"](found, random.Random(0))) == (said is not None)
    asked = {
        answer
        for seed in range(60)
        for ((question, answer),) in single(found, random.Random(seed))
        if "chin" in question
    }
    assert asked == (
        {"The chin is nearly level."} if seen == 9 else {said[0].upper() + said[1:] + "."} if said else set()
    )


@pytest.mark.parametrize(
    ("cheeks", "seen", "side"),
    [
        (0.3, 0.6, "left"),
        (-0.3, -0.6, "right"),
        (0.3, 0.1, None),
        (0.3, -0.6, None),
        (0.02, 0.1, "even"),
        (0.02, 0.4, "nearly even"),
        (0.1, 0.1, "even"),
        (0.1, 0.6, "left"),
        (0.02, 0.6, "nearly even"),
    ],
)
def test_the_side_of_the_light_is_stated_where_the_encoder_sees_it(cheeks, seen, side):
    found = read(side=cheeks, seen=np.array([*STATS[:4], seen]))
    assert found.light_side == side
    assert read(side=cheeks, seen=np.array([*STATS[:4], seen]), yaw=20).light_side is None
    text = picture_text.side_sentence(found, random.Random(0))
    assert (text is None) == (side is None) and (side not in ("left", "right") or text.endswith(side))


@pytest.mark.parametrize(
    ("believed", "smile", "stated"),
    [(0.7, 0.06, "happiness"), (0.7, 0.04, None), (0.5, 0.06, None), (0.86, 0.0, "happiness")],
)
def test_happiness_needs_less_where_the_mouth_smiles(believed, smile, stated):
    assert read(believed=believed, smile=smile).expression == stated


def test_a_smile_makes_no_other_expression_more_certain():
    assert read(expression="surprise", believed=0.7, smile=0.06).expression is None


@pytest.mark.parametrize("years", [1, 5, 14, 25, 47, 80])
def test_the_age_range_holds_the_age(years):
    low, high = facts.age_range(years)
    assert low <= years <= high


@pytest.mark.parametrize("key", list(wording.WRITERS))
def test_answers_are_whole_sentences_that_agree_with_the_facts(key):
    found = read(years=30, yaw=20)
    answers = {wording.WRITERS[key](found, random.Random(seed)) for seed in range(40)}
    for text in answers:
        assert text[0].isupper() and text.endswith(".") and "None" not in text and "  " not in text
        assert " man" not in text and "male" not in text.replace("female", "") and "viewer's right" not in text


@pytest.mark.parametrize("key", list(wording.WRITERS))
def test_a_value_has_one_wording(key):
    """What changes from draw to draw is the frame: the words that are left, frames aside, are those of the facts."""

    def words(found):
        draws = [set(wording.WRITERS[key](found, random.Random(seed)).lower().split()) for seed in range(40)]
        return set.intersection(*draws)

    plain = words(read())
    changed = {
        "demographic": read(race=0.4, years=70),
        "structure": dataclasses.replace(read(), jaw="broad"),
        "skin": read(years=70),
        "expression": read(expression="sadness", believed=0.97, mouth=0.01),
        "lighting": read(side=0.4),
        "pose": read(yaw=20),
        "forensic": read(grey=0.2),
        "detail": read(grey=0.2, years=70),
    }[key]
    assert words(changed) - plain and plain - words(changed)


def test_shapes_are_said_where_they_stand_out():
    """Each is stated where the encoder sees it and the measurement does not say the opposite."""
    column = data.MEASUREMENTS.index
    usual = read(seen_mouth=0.3)
    assert (usual.jaw, usual.face_shape, usual.lips) == (None, None, None)
    assert wording.WRITERS["structure"](usual, random.Random(0)) == "No proportion of the face stands out clearly."
    mesh = {name: (low - 0.02, high + 0.02, below, above) for name, low, high, below, above in labelled.SHAPES.values()}
    for fact, (name, low, high, below, above) in labelled.SHAPES.items():
        for measured, seen, said in ((high + 1, high + 1, above), (high + 1, (low + high) / 2, None),
                                     ((low + high) / 2, low - 1, below), (high + 1, low - 1, None)):  # fmt: skip
            values = np.array([(mesh[n][0] + mesh[n][1]) / 2 if n in mesh else 0.0 for n in data.MEASUREMENTS])
            own, estimate = values.copy(), values.copy()
            own[column(name)], estimate[column(name)] = measured, seen
            found = reader().read(
                mesh=own, seen_mesh=estimate, stats=STATS, skin=np.array([0.04, 0.0]), years_expected=30.0,
                probabilities={"gender": np.eye(2)[1], "race": np.eye(5)[0], "expression": np.eye(8)[0]},
                labels={"gender": 1, "race": 0, "age_group": 3, "age_years": 30, "expression": -1},
            )  # fmt: skip
            text = wording.WRITERS["structure"](found, random.Random(0))
            assert (said is None) == (text == "No proportion of the face stands out clearly."), (fact, text)


def test_a_mouth_in_between_is_not_mentioned_and_an_open_one_is_no_mild_expression():
    text = wording.WRITERS["expression"](read(mouth=0.1, believed=0.5), random.Random(0))
    assert "mouth" not in text and "a mild expression" in text
    text = wording.WRITERS["expression"](read(mouth=0.3, believed=0.5), random.Random(0))
    assert "an expression that is hard to name" in text and "mouth is open" in text


def test_the_middle_of_light_is_said_and_an_unmeasured_face_is_not_described():
    assert "moderate" in wording.WRITERS["lighting"](read(grey=0.35), random.Random(0))
    assert "like that of an adult." in wording.WRITERS["skin"](read(years=40), random.Random(0))
    unmeasured = read(yaw=float("nan"), mouth=float("nan"))
    for key in ("structure", "pose"):
        assert "cannot be" in wording.WRITERS[key](unmeasured, random.Random(0))
    for key in ("expression", "forensic", "detail"):
        text = wording.WRITERS[key](unmeasured, random.Random(0))
        assert "pose" not in text and "turned" not in text and "mouth is" not in text, text


def test_what_most_pictures_have_is_not_said():
    """Said of all faces, it would be said of those that differ, too."""
    usual, grey = read(), read(stats=np.array([0.45, 0.7, 0.5, 0.01, 0.0]))
    assert (usual.colour, usual.eyes, usual.light_side) == (None, None, "even")
    text = {key: write(usual, random.Random(0)) for key, write in wording.WRITERS.items()}
    assert "colour" not in text["lighting"] + text["skin"] and "eyes" not in text["expression"]
    assert "evenly" not in text["lighting"]
    text = {key: write(grey, random.Random(0)) for key, write in wording.WRITERS.items()}
    assert all("black and white" in text[key] for key in ("lighting", "detail"))
    assert "missing colour" in text["forensic"] and "cannot be judged" in text["skin"]
    narrowed = dataclasses.replace(usual, eyes="narrowed")
    assert "and the eyes are narrowed" in wording.WRITERS["expression"](narrowed, random.Random(0))


def test_what_nano_cannot_tell_is_not_taught():
    found = read(side=0.4)
    said = [write(found, random.Random(seed)) for write in wording.WRITERS.values() for seed in range(20)]
    said += [text for seed in range(40) for ((_, text),) in single(found, random.Random(seed))]
    said += [facts_as_json(found, random.Random(seed))[0][1] for seed in range(20)]
    assert not [text for text in said if "contrast" in text.lower() or "skin tone" in text or "skin_tone" in text]


def test_a_single_sentence_is_worded_as_in_the_long_answers():
    found = dataclasses.replace(read(yaw=20), colour="greyscale", light_side="left")
    said = {
        text
        for write in wording.WRITERS.values()
        for seed in range(40)
        for text in sentences(write(found, random.Random(seed)))
    }
    alone = [turns for seed in range(40) for turns in single(found, random.Random(seed))]
    assert len(alone) > 100 and len({question for ((question, _),) in alone}) > 15
    assert {answer for ((_, answer),) in alone} <= said | {"The chin is nearly level."}


def test_light_and_sharpness_are_stated_where_the_encoder_sees_them():
    blurred, usual = np.array([0.2, 0.7, 0.2, 0.5, 0.0]), STATS
    measured = read(stats=blurred)
    assert (measured.light, measured.sharpness) == ("dark", "blurred")
    agreed, unseen = read(stats=blurred, seen=blurred), read(stats=blurred, seen=usual)
    assert (agreed.light, agreed.sharpness) == ("dark", "blurred") and agreed.sharpness_label == "blurred"
    assert (unseen.light, unseen.sharpness) == (None, None) and unseen.light_label == "dark"
    assert "neither clearly sharp" in wording.WRITERS["lighting"](unseen, random.Random(0))
    assert choices.profile_answer("sharpness", unseen, random.Random(0))[0][1] == "blurred"


@pytest.mark.parametrize(
    ("measured", "seen", "said"),
    [
        (0.3, 0.25, "open"),
        (0.1, 0.25, "open"),  # the measurement names nothing, the encoder does
        (0.3, 0.1, None),  # the encoder is in between
        (0.1, 0.1, None),
        (0.3, 0.02, None),  # it sees the other thing
        (0.01, 0.01, "closed"),
        (float("nan"), 0.25, None),  # nobody measured it
    ],
)
def test_the_mouth_is_stated_as_the_encoder_sees_it_unless_measured_otherwise(measured, seen, said):
    found = read(mouth=measured, seen_mouth=seen)
    assert found.mouth == said
    assert found.mouth_label == read(mouth=measured).mouth  # what the profile is taught stays the measurement


@pytest.mark.parametrize(
    ("measured", "seen", "said"),
    [
        (0.35, 0.3, "dark"),
        (0.5, 0.5, "balanced"),
        (0.65, 0.7, "bright"),
        (0.5, 0.38, None),
        (0.5, 0.3, None),
    ],
)
def test_light_is_stated_by_the_encoders_estimate(measured, seen, said):
    assert read(grey=measured, seen=np.array([seen, *STATS[1:]])).light == said


def test_light_of_a_dark_or_bright_picture_is_always_asked_for():
    asked = {question for seed in range(60) for ((question, _),) in single(read(grey=0.2), random.Random(seed))}
    light = {"How bright is the picture?", "What is the light like?", "How is the exposure?"}
    assert light <= asked
    for seed in range(30):
        assert any(question in light for ((question, _),) in single(read(grey=0.2), random.Random(seed)))


def test_light_is_balanced_only_where_no_side_is_lighter():
    assert read().light == "balanced" and read(grey=0.35).light is None and read(grey=0.2).light == "dark"
    uneven = read(side=0.4)
    assert uneven.light_side == "left" and read(side=0.4, yaw=20).light_side is None
    for seed in range(20):
        for key in ("lighting", "forensic"):
            assert "balanced" not in wording.WRITERS[key](uneven, random.Random(seed))


def test_without_a_stated_gender_no_sentence_gives_it_away():
    found = read(gender=0.6)
    for key, write in wording.WRITERS.items():
        for seed in range(20):
            text = f" {write(found, random.Random(seed)).lower()} "
            assert " man" not in text and " woman" not in text and "girl" not in text and "boy" not in text, (key, text)


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


def test_the_base_says_nothing_of_age_group_and_ethnicity():
    found = read()
    rng = random.Random(0)
    for key in wording.WRITERS:
        for _ in range(20):
            text = general.shallow_attribute(key, found, rng)[0][1]
            assert "Black" not in text and "30" not in text and "years" not in text


def test_a_told_label_leads_to_its_letter():
    rng = random.Random(0)
    for _ in range(200):
        ((question, answer),) = general.text_choice(rng)
        first, *options = [line for line in question.splitlines() if not line.startswith("Please")]
        right = options["ABCD".index(answer.strip("(")[0])].split(") ", 1)[1]
        assert len(options) == 4 and right in first


def test_an_expression_that_the_encoder_hardly_learnt_is_not_stated_for_it():
    anger = {believed: read(expression="anger", believed=believed).expression for believed in (0.9, 0.96)}
    assert anger == {0.9: None, 0.96: "anger"}
    assert read(expression="contempt", believed=0.99).expression is None
    assert read(expression="neutral").expression is None
    assert read(expression="neutral", believed=0.92).expression == "neutral"


def test_an_open_ethnicity_is_a_sentence():
    unsure = {wording.WRITERS["demographic"](read(race=0.5), random.Random(seed)) for seed in range(20)}
    assert all("The apparent ethnicity is not clear from this picture." in text for text in unsure)


def test_cheeks_are_measured_whatever_the_tone_of_the_skin():
    flat = np.full((1, 3, 112, 112), 0.5)
    np.testing.assert_allclose(facts.skin_stats(flat), 0, atol=1e-12)
    lit = flat.copy()
    lit[..., : labelled.LEFT_CHEEK[1].stop] = 0.75  # the viewer's left
    lined = flat.copy()
    lined[..., ::2] = 0.6
    texture, side = facts.skin_stats(np.concatenate([lit, lined])).T
    assert texture[0] == pytest.approx(0) and side[0] == pytest.approx(0.25 / (0.625 + 0.05))
    assert texture[1] == pytest.approx(2 * 0.1 / (0.55 + 0.05), rel=0.05) and abs(side[1]) < 0.05
