"""What the measured teacher may say: confident labels outright, unsure ones hedged, the middle of a range never."""

import random

import numpy as np
import pytest

from facellm.labels import ETHNICITIES, GENDERS
from tests.train.nano.teacher import STATS, read
from train.faces import facts, measures
from train.faces.measures import cheek_difference
from train.nano.language import choices
from train.nano.language.single import single
from train.teachers.measured import person_text, picture_text, wording

NO_SHAPE = "No proportion of the face stands out clearly."


def test_a_label_that_the_encoder_hardly_believes_is_neither_asked_about_nor_overruled():
    """Here the labels are Female (index 1) and the second ethnicity."""
    believed, doubted = read(gender=0.5, race=0.5), read(gender=0.05, race=0.05)
    assert (believed.gender_label, believed.race_label) == (GENDERS[1], ETHNICITIES[1])
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


def test_shapes_are_said_where_they_stand_out():
    """Each is stated where the encoder sees it and the measurement does not say the opposite."""
    usual = read(seen_mouth=0.3)
    assert wording.WRITERS["structure"](usual, random.Random(0)) == NO_SHAPE
    for fact, (name, low, high, below, above) in measures.SHAPES.items():
        middle, far_low, far_high = (low + high) / 2, low - 1, high + 1
        for measured, seen, said in (
            (far_high, far_high, above),
            (far_high, middle, None),
            (far_high, far_low, None),
            (middle, far_low, below),
        ):
            found = read(shapes={name: measured}, seen_shapes={name: seen})
            assert getattr(found, fact.replace(" ", "_")) == said
            assert (said is None) == (wording.WRITERS["structure"](found, random.Random(0)) == NO_SHAPE)


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


def test_an_expression_that_the_encoder_hardly_learnt_is_not_stated_for_it():
    anger = {believed: read(expression="anger", believed=believed).expression for believed in (0.9, 0.96)}
    assert anger == {0.9: None, 0.96: "anger"}
    assert read(expression="contempt", believed=0.99).expression is None
    assert read(expression="neutral").expression is None
    assert read(expression="neutral", believed=0.92).expression == "neutral"


def test_cheeks_are_measured_whatever_the_tone_of_the_skin():
    flat = np.full((1, 3, 112, 112), 0.5)
    np.testing.assert_allclose(cheek_difference(flat), 0, atol=1e-12)
    lit = flat.copy()
    lit[..., : measures.LEFT_CHEEK[1].stop] = 0.75  # the viewer's left
    assert cheek_difference(lit) == pytest.approx(0.25 / (0.625 + 0.05))
    assert cheek_difference(np.flip(lit, 3)) == pytest.approx(-0.25 / (0.625 + 0.05))
