"""Visitors' photos: kept apart, faces chosen and numbered, examples credited."""

from __future__ import annotations

import pytest
from PIL import Image

from demo.runtime.photos import EXAMPLES, Photos, choose_face, read_photo
from demo.tabs import photo
from facellm.errors import FaceLLMError


def test_photos_are_kept_apart_bounded_and_forgotten(collins):
    photos = Photos(forget_after=60, most=2)
    for name in "abc":
        photos.put(name, collins)
    assert photos.get("a") is None and photos.get("c") is collins and photos.count() == 2
    photos.drop("c")
    assert photos.get("c") is None
    assert photos.sweep() == {"a"} and photos.sweep() == set(), "dropped is not forgotten: its page is told or closed"
    photos._forget_after = -1  # everything is too old
    assert photos.get("b") is None and photos.sweep() == {"b"} and photos.count() == 0


def test_examples_are_credited_portraits_groups_and_one_without_a_face():
    credits = (EXAMPLES / "CREDITS.md").read_text()
    assert all(f"`{name}`" in credits for name in photo.PORTRAITS)
    faces = [len(read_photo(EXAMPLES / name).view.faces) for name in photo.PORTRAITS]
    assert faces.count(1) >= 6 and faces.count(0) == 1 and max(faces) == 4


def test_choosing_a_face_changes_the_crop_and_nothing_else():
    two = read_photo(EXAMPLES / "two.jpg")
    other = choose_face(two, 1)
    assert other.ident != two.ident and other.face_index == 1 and other.source is two.source
    assert choose_face(other, 0).ident == two.ident, "a conversation is about a photo and one of its faces"
    with pytest.raises(FaceLLMError, match="no face 3"):
        choose_face(two, 2)
    assert photo.stage(two).count('aria-pressed="true"') == 1


def test_faces_are_numbered_from_left_to_right():
    two = read_photo(EXAMPLES / "two.jpg")
    shown = photo.boxes(two)
    assert [box.number for box in shown] == [1, 2] and shown[0].left < shown[1].left
    assert {box.index for box in shown} == {0, 1} and [box.index for box in shown if box.chosen] == [0]
    whole = photo.stage(two, whole=True)
    assert "whole photo" in whole and "is chosen" not in whole and "crop" not in whole and "data-face" not in whole


def test_a_photo_without_a_face_is_used_whole():
    grey = read_photo(Image.new("RGB", (300, 200), "grey"))
    assert grey.view.face is None and grey.view.image.size == (300, 200)
    assert "No face found" in photo.stage(grey)
