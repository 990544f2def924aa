"""Sentences, items and the sample of an audit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from facellm.attributes import ATTRIBUTES
from train.people.audit.items import Item, read_items
from train.people.audit.sample import draw
from train.people.audit.sentences import sentences


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("A man. He smiles! Does he? Yes.", ["A man.", "He smiles!", "Does he?", "Yes."]),
        ("Dr. Smith, e.g. here, is approx. 40. He sits.", ["Dr. Smith, e.g. here, is approx. 40.", "He sits."]),
        ("It is 1.5 m, taken at 9 a.m. in June.", ["It is 1.5 m, taken at 9 a.m. in June."]),
        ("It was taken at 9 a.m. The light is low.", ["It was taken at 9 a.m.", "The light is low."]),
        ("He is J. Smith. He smiles.", ["He is J. Smith.", "He smiles."]),
        ('"A smile." It is warm.', ['"A smile."', "It is warm."]),
        ("Skin, hair, etc. are soft. Done", ["Skin, hair, etc. are soft.", "Done"]),
        ("Well... maybe. Wait... Now.", ["Well... maybe.", "Wait...", "Now."]),
        ("Notes:\n- The  jaw is broad.\n2. The lips are thin", ["Notes:", "The jaw is broad.", "The lips are thin"]),
        ("  \n - \n...", []),
    ],
)
def test_sentences(text, parts):
    assert sentences(text) == parts


def test_no_word_is_lost():
    text = "The man (approx. 30 yrs.) smiles; he wears a No. 7 shirt. What else? E.g. a hat!\n\n* One more line"
    assert "".join("".join(sentences(text)).split()) == "".join(text.replace("* ", "").split())


def test_items_have_labels_attributes_and_both_splits(dataset):
    read = read_items(dataset)
    assert len(read.items) == 64 and read.left_out == ()
    assert Counter(item.attribute for item in read.items) == {a.key: 8 for a in ATTRIBUTES}
    item = next(i for i in read.items if i.image == "images/7.png" and i.attribute == "pose")
    assert item.stratum == ("pose", "Female", "Indian") and item.path.is_file() and len(item.sentences) == 2


def test_labels_from_a_csv_and_without_any(dataset, tmp_path):
    import shutil

    bare = tmp_path / "bare"
    shutil.copytree(dataset, bare)
    shutil.rmtree(bare / "jsonl")
    read = read_items(bare)
    assert read.items[0].stratum[1:] == ("unknown", "unknown") and "64 of 64 pairs have no labels" in read.left_out[0]
    labels = tmp_path / "labels.csv"
    labels.write_text("file,gender,race\n0.png,Male,White\nimages/1.png,Female,Black\n")
    found = {item.image: item.stratum[1:] for item in read_items(bare, labels).items}
    assert found["images/0.png"] == ("Male", "White") and found["images/1.png"] == ("Female", "Black")
    assert found["images/2.png"] == ("unknown", "unknown")
    (bare / "images/0.png").unlink()
    assert read_items(bare, labels).left_out[0] == "8 pairs were left out because their image is not a file."


def many(sizes: dict[tuple[str, str, str], int]) -> list[Item]:
    return [
        Item(f"{a}{g}{r}{i}", f"{g}{r}{i}.png", Path("x.png"), a, "?", "Yes.", ("Yes.",), {"gender": g, "race": r})
        for (a, g, r), n in sizes.items()
        for i in range(n)
    ]


def test_every_stratum_gets_its_share_and_the_seed_decides():
    sizes = {
        (a, g, r): n * m
        for a in ("pose", "skin", "detail")
        for g, m in (("Male", 2), ("Female", 1))
        for r, n in (("White", 40), ("Black", 25), ("Asian", 7))
    }
    items = many(sizes)
    total = sum(sizes.values())
    for seed in range(5):
        drawn = draw(items, 100, seed)
        assert len({item.key for item in drawn}) == 100
        counts = Counter(item.stratum for item in drawn)
        for stratum, size in sizes.items():
            share = 100 * size / total
            assert np.floor(share) <= counts[stratum] <= np.ceil(share), (seed, stratum)
        assert [i.key for i in draw(items[::-1], 100, seed)] == [i.key for i in drawn]
    assert [i.key for i in draw(items, 100, 1)] != [i.key for i in draw(items, 100, 2)]
    first = [item.attribute for item in draw(items, 100, 0)[:20]]
    assert len(set(first)) == 3  # mixed, not one attribute after the other
    assert len(draw(items[:7], 100, 0)) == 7


def test_equal_steps_do_not_meet_the_same_image_every_time(dataset):
    items = read_items(dataset).items  # eight images in eight groups, so a step of 8 fits their number exactly
    assert min(len({item.image for item in draw(items, 8, seed)}) for seed in range(10)) >= 3


def test_every_pair_has_the_same_chance():
    items = many({("pose", "Male", "White"): 9, ("pose", "Male", "Black"): 3})
    counts = Counter(item.key for seed in range(3000) for item in draw(items, 4, seed))
    assert all(abs(n / 3000 - 1 / 3) < 0.05 for n in counts.values()) and len(counts) == 12
