"""Everybody in the photo: a table with the main fields of each profile, to sort, to save, to open a face from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from demo.page.downloads import csv_text, data_uri, downloads
from demo.page.render import render
from demo.runtime.photos import Photo, choose_face, jpeg
from demo.tabs.photo import boxes
from facellm.profile import KNOWN_FIELDS

# Fields that the table shows; the CSV has all.
MAIN = ("age_group", "gender", "expression", "pose", "mouth")
THUMB = 96


@dataclass(frozen=True)
class Person:
    """One face of the photo.

    Attributes:
        index: Its place in the photo's list of faces.
        number: What the visitor calls it, counted from the left.
        thumb: Its crop as a data: address.
        fields: field -> (label, its probability, the label's place among its field's labels).
    """

    index: int
    number: int
    thumb: str
    fields: Mapping[str, tuple[str, float, int]]


def everybody(photo: Photo) -> list[Photo]:
    """The photo once for each of its faces, from left to right, with that face chosen."""
    return [photo if box.chosen else choose_face(photo, box.index) for box in boxes(photo)]


def person(photo: Photo, number: int, profile: Mapping) -> Person:
    """A face with what its profile says.  profile: of that face, as a dict."""
    fields = {}
    for key, field in profile["fields"].items():
        labels = list(field["probabilities"])
        label = max(labels, key=field["probabilities"].__getitem__)
        fields[key] = label, field["probabilities"][label], labels.index(label)
    return Person(photo.face_index, number, data_uri(jpeg(photo.view.image, THUMB)), fields)


def show(people: Sequence[Person], chosen: int, calibrated: bool) -> str:
    """The table and its file; empty where there is nobody."""
    if not people:
        return ""
    titles = {f.key: f.title for f in KNOWN_FIELDS}
    heads = [(key, titles[key]) for key in MAIN if key in people[0].fields]
    rows = [
        [p.number, titles[key], label, f"{probability:.6f}"]
        for p in people
        for key, (label, probability, _) in p.fields.items()
    ]
    files = [("CSV", "facellm-faces.csv", "text/csv", csv_text(["face", "field", "label", "probability"], rows))]
    saved = downloads("All fields of all faces", files)
    return render("people", people=people, heads=heads, chosen=chosen, calibrated=calibrated, saved=saved)
