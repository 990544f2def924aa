"""Faces are found, ordered, levelled and framed as the training crops are, in any light, turn and place."""

import json
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from facellm.errors import FaceLLMError
from facellm.vision import faces
from facellm.vision.detector import shared_detector
from facellm.vision.faces import TEMPLATE, Face, crop_corners, crop_face, find_faces, view_face
from facellm.vision.images import load_image
from tests.paths import EXAMPLES, SHARED

VAL = SHARED / "data" / "utkface" / "val.zip"


@pytest.fixture(scope="module")
def portrait():
    """512 x 512 px, one face of about 90 x 115 px around (223, 117), head tilted by 3 degrees."""
    return load_image(EXAMPLES / "astronaut.jpg")


@pytest.fixture(scope="module")
def nothing():
    return load_image(EXAMPLES / "coffee.jpg")


@pytest.fixture(scope="module")
def aligned():
    """40 aligned 200 x 200 px crops of faces, as the model was trained on."""
    if not VAL.is_file():
        pytest.skip("../shared/data/utkface/val.zip is not here")
    with zipfile.ZipFile(VAL) as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".jpg"))[:40]
        return [load_image(archive.read(name)) for name in names]


def eyes(face: Face) -> np.ndarray:
    return np.array(face.landmarks[:2])


def test_one_portrait(portrait):
    (face,) = find_faces(portrait)
    left, top, right, bottom = face.box
    assert 165 < left < 190 < 255 < right < 280 and 45 < top < 70 < 165 < bottom < 185
    assert face.score > 0.99 and len(face.landmarks) == 5
    assert np.abs(eyes(face) - [[204, 102], [246, 103]]).max() < 5
    assert json.loads(json.dumps(face.to_dict()))["box"] == [round(v, 1) for v in face.box]


def test_the_crop_is_framed_and_levelled_as_the_training_crops_are(portrait):
    (face,) = find_faces(portrait)
    crop = crop_face(portrait, face, side=200)
    assert crop.size == (200, 200) and crop.mode == "RGB"
    (again,) = find_faces(crop)
    assert np.abs(np.array(again.landmarks) / 200 - TEMPLATE).max() < 0.06
    rise = eyes(again)[1] - eyes(again)[0]
    assert abs(np.degrees(np.arctan2(rise[1], rise[0]))) < 4


@pytest.mark.parametrize("degrees", [-30, -15, 15, 30, 90, 180, 270])
def test_turned_heads_come_out_upright(portrait, degrees):
    upright = crop_face(portrait, find_faces(portrait)[0], side=64)
    turned = portrait.rotate(degrees, expand=True, resample=Image.Resampling.BICUBIC)
    crop = view_face(turned).image.resize((64, 64))
    a, b = (np.asarray(im.convert("L"), float).ravel() for im in (upright, crop))
    assert np.corrcoef(a, b)[0, 1] > 0.85


def test_dark_small_and_grey(portrait):
    assert len(find_faces(portrait.point(lambda v: v // 8))) == 1
    scene = Image.new("RGB", (2048, 1536), (90, 110, 90))
    scene.paste(portrait.resize((400, 400)), (1500, 1000))  # a face 70 px wide: 3.4 % of the width
    (face,) = find_faces(scene)
    assert 1630 < eyes(face)[0, 0] < 1700 and 1060 < eyes(face)[0, 1] < 1100
    assert len(find_faces(portrait.convert("L"))) == 1


def test_several_faces_come_largest_first(portrait):
    scene = Image.new("RGB", (1400, 600), (120, 120, 120))
    scene.paste(portrait.resize((300, 300)), (0, 100))
    scene.paste(portrait, (800, 40))
    scene.paste(portrait.resize((400, 400)), (350, 100))
    found = find_faces(scene)
    assert [round(f.box[0] // 350) for f in found] == [2, 1, 0]
    assert [f.area for f in found] == sorted((f.area for f in found), reverse=True)
    view = view_face(scene, face_index=2)
    assert view.face == found[2] and view.faces == tuple(found)
    assert view.notice == "3 faces were found; the answers are about number 3 by size."
    assert view_face(scene).notice == "3 faces were found; the answers are about the largest."


def test_a_view_says_what_its_boxes_are_measured_in(portrait, nothing):
    tight = crop_face(portrait, find_faces(portrait)[0], side=200)
    assert view_face(tight).image is tight and view_face(portrait).image.size != portrait.size
    for image in (portrait, tight, nothing):
        assert view_face(image).image_size == view_face(image, detect=False).image_size == image.size


def test_which_face_does_not_exist(portrait, nothing):
    with pytest.raises(FaceLLMError, match="1 face was found: choose from 0 to 0"):
        view_face(portrait, face_index=1)
    with pytest.raises(FaceLLMError, match="no face was found"):
        view_face(nothing, face_index=1)
    with pytest.raises(FaceLLMError, match="0 is the largest"):
        view_face(portrait, face_index=-1)


def test_no_face_shows_the_whole_image_and_says_so(nothing):
    view = view_face(nothing)
    assert view.image is nothing and view.face is None and view.faces == ()
    assert view.notice.startswith("No face was found") and view.notice.endswith(".")


@pytest.mark.parametrize("colour", ["black", "white", (127, 90, 60)])
@pytest.mark.parametrize("size", [(16, 16), (2048, 110), (30, 600)])
def test_blank_images_of_any_shape_hold_no_face(size, colour):
    assert find_faces(Image.new("RGB", size, colour)) == []


def test_noise_holds_no_face():
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    assert find_faces(Image.fromarray(noise)) == []


def test_without_detection_nothing_is_searched(portrait, monkeypatch):
    monkeypatch.setattr(faces, "shared_detector", lambda: pytest.fail("searched"))
    view = view_face(portrait, detect=False)
    assert view.image is portrait and view.face is None and view.notice is None


def test_the_margin_scales_about_the_same_centre(portrait):
    (face,) = find_faces(portrait)
    tight, wide = crop_corners(face, 0.0), crop_corners(face, 0.5)
    assert np.allclose(tight.mean(axis=0), wide.mean(axis=0))
    assert np.isclose(np.linalg.norm(wide[1] - wide[0]), 2 * np.linalg.norm(tight[1] - tight[0]))
    with pytest.raises(FaceLLMError, match="margin"):
        crop_face(portrait, face, margin=-0.1)
    with pytest.raises(FaceLLMError, match="side"):
        crop_face(portrait, face, side=0)


def test_a_face_at_the_edge_is_filled_by_mirroring(portrait):
    cut = portrait.crop((178, 78, 512, 512))  # the crop's square reaches beyond the left and the upper edge
    (face,) = find_faces(cut)
    assert (crop_corners(face).min(axis=0) < 0).all()
    crop = np.asarray(crop_face(cut, face, side=64))
    assert crop.std(axis=(0, 1)).min() > 10
    assert (crop.reshape(-1, 3).sum(axis=1) == 0).mean() < 0.05  # not padded with black


def test_a_face_without_landmarks_is_cropped_by_its_box(portrait):
    (face,) = find_faces(portrait)
    bare = crop_corners(Face(face.box, face.score))
    marked = crop_corners(face)
    side = np.linalg.norm(marked[1] - marked[0])
    assert abs(np.linalg.norm(bare[1] - bare[0]) / side - 1) < 0.4
    assert np.linalg.norm(bare.mean(axis=0) - marked.mean(axis=0)) < 0.2 * side


def test_training_crops_are_used_as_they_are(aligned):
    whole = sum(view_face(image).image is image for image in aligned)
    assert whole >= 38


def test_training_crops_in_a_scene_are_cropped_back(aligned):
    """Paste a crop, turned, into a larger picture: the view must be that crop again."""
    ious = []
    for number, image in enumerate(aligned[:20]):
        degrees = (number % 5 - 2) * 12.0
        scene = Image.new("RGB", (800, 600), (128, 140, 128))
        patch = image.convert("RGBA").rotate(degrees, Image.Resampling.BICUBIC, expand=True)
        scene.paste(patch, (300, 150), patch)
        found = find_faces(scene)
        if not found:
            ious.append(0.0)
            continue
        centre = np.array([300 + patch.width / 2, 150 + patch.height / 2])
        turn = np.radians(-degrees)
        axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        local = (crop_corners(found[0]) - centre) @ axes.T / 200 + 0.5  # corners in the pasted crop's own frame
        low, high = np.clip(local.min(axis=0), 0, 1), np.clip(local.max(axis=0), 0, 1)
        inter, area = np.prod(high - low), np.linalg.norm(local[1] - local[0]) ** 2
        ious.append(inter / (1 + area - inter))
    assert np.median(ious) > 0.85 and sum(v > 0.7 for v in ious) >= 18, np.round(ious, 2)


def test_threads_find_the_same(portrait):
    shared_detector.cache_clear()
    results = []
    threads = [threading.Thread(target=lambda: results.append(find_faces(portrait))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and all(r == results[0] for r in results)
