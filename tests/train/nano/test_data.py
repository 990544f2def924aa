"""Reading the two face sets: labels, measurements and pixels of a small set written here."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from facellm.labels import AGE_GROUPS, EXPRESSIONS
from train.nano.vision import faces as data

MEASURED = ",".join(("file", "found", *data.MEASUREMENTS))


def _jpeg(colour, size=(40, 40)):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    rows = {
        "utkface": (
            "file,age,gender,race,age_years",
            ["train/1.jpg,20-29,Female,Black,26", "val/1.jpg,more than 70,Male,Others,81"],
        ),
        "expressions": ("file,expression", ["train/1.jpg,sadness"]),
    }
    for name, (header, lines) in rows.items():
        place = tmp_path / name
        place.mkdir()
        (place / "labels.csv").write_text("\n".join([header, *lines]) + "\n")
        values = ",".join(str(number) for number in range(len(data.MEASUREMENTS)))
        (place / "measurements.csv").write_text(
            MEASURED + "\n" + f"train/1.jpg,1,{values}\nval/1.jpg,0" + "," * len(data.MEASUREMENTS) + "\n"
        )
        with zipfile.ZipFile(place / "all.zip", "w") as archive:
            for line in lines:
                archive.writestr(line.split(",")[0], _jpeg((200, 10, 10), (40, 20)))
    np.savez(
        tmp_path / "utkface" / "face_descriptors.npz",
        name=np.array(["train/1.jpg", "val/1.jpg"]),
        descriptor=np.ones((2, 128), np.float16),
    )
    return tmp_path


def test_labels_measurements_and_pixels_stand_in_one_row(folder, tmp_path):
    faces = data.load(folder, tmp_path / "work")
    assert faces.names.tolist() == ["utkface/train/1.jpg", "utkface/val/1.jpg", "expressions/train/1.jpg"]
    assert faces.is_train.tolist() == [True, False, True]
    assert [AGE_GROUPS[i] for i in faces.age_group[:2]] == ["20-29", "more than 70"]
    assert faces.gender.tolist() == [1, 0, data.MISSING]
    assert faces.race.tolist() == [1, 4, data.MISSING]
    assert faces.expression.tolist() == [data.MISSING, data.MISSING, EXPRESSIONS.index("sadness")]
    assert faces.measurements[0].tolist() == list(range(13))
    assert np.isnan(faces.measurements[1]).all() and np.isnan(faces.descriptors[2]).all()


def test_packed_pixels_are_read_once_and_keep_proportions(folder, tmp_path):
    faces = data.load(folder, tmp_path / "work")
    again = data.load(folder, tmp_path / "work")
    assert np.array_equal(faces.pixels, again.pixels)
    assert isinstance(again.pixels, np.memmap)
    middle, top = faces.pixels[0][72, 72], faces.pixels[0][2, 72]
    assert np.abs(middle.astype(int) - [200, 10, 10]).max() < 12
    assert np.abs(top.astype(int) - middle).max() < 12  # the border is the picture's mean colour, not black
