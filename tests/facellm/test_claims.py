"""What a text claims of traits: glasses, hair, facial hair, headwear, make-up, teeth."""

from __future__ import annotations

import pytest

from facellm.claims import TRAITS, claims, conflicts
from facellm.profile import TRAITS as FIELDS


def test_traits_are_the_profiles_fields_and_labels():
    labels = {field.key: set(field.labels) for field in FIELDS}
    assert set(TRAITS) == set(labels)
    assert all(set(values) <= labels[fact] for fact, values in TRAITS.items())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She wears glasses.", {"glasses": "glasses"}),
        ("He wears no glasses.", {"glasses": "none"}),
        ("She isn't wearing glasses.", {}),
        ("A man in dark glasses.", {}),
        ("Sunglasses hide the eyes.", {"glasses": "sunglasses"}),
        ("He has a full grey beard.", {"facial_hair": "beard"}),
        ("He is clean-shaven.", {"facial_hair": "none"}),
        ("There is no beard.", {"facial_hair": "none"}),
        ("A beard and a moustache.", {}),
        ("Her hair is long and brown.", {"hair_length": "long"}),
        ("She has long, dark brown hair.", {"hair_length": "long", "hair_colour": "dark"}),
        ("Light brown hair falls to the shoulders.", {"hair_colour": "brown"}),
        ("A woman with short grey hair.", {"hair_length": "short", "hair_colour": "grey"}),
        ("He is bald.", {"hair_length": "bald"}),
        ("He wears a baseball cap.", {"headwear": "cap"}),
        ("She has no hat on.", {"headwear": "none"}),
        ("She wears heavy make-up.", {"makeup": "strong"}),
        ("No make-up is visible.", {"makeup": "none"}),
        ("The teeth are visible.", {"teeth": "yes"}),
        ("The teeth are not visible.", {"teeth": "no"}),
        ("The glasses could be sunglasses.", {}),
        ("A white wall behind dark hair.", {"hair_colour": "dark"}),
        ("A long nose, dark hair.", {"hair_colour": "dark"}),
        ("Black eyes, brown hair.", {"hair_colour": "brown"}),
        ("Short, thick and wavy hair in shades of brown.", {"hair_length": "short"}),
        ("Brown and grey hair.", {}),
    ],
)
def test_traits(text, expected):
    assert claims(text, TRAITS) == expected


def test_two_colours_of_hair_are_no_contradiction():
    assert conflicts("Dark hair with some grey hair at the temples, a beard and a moustache.") == {}
    assert claims("The person wears glasses.") == {}, "labels alone unless traits are asked for"
