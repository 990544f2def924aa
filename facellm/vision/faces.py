"""Where the faces are in a photo, and the square, levelled crop of one of them that the model is asked about.

Nothing is downloaded, and the detector is loaded at the first search.

Framing. FaceLLM-nano was trained on crops made as dlib makes a face chip with padding 0.25. A crop is therefore a
similarity transform (turn, scale, move; no stretching) that brings the detector's five landmarks as near as possible to
where the same detector finds them in such crops. `margin` 0.25 is that framing, and about what FairFace ships.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from facellm.errors import FaceLLMError
from facellm.vision.detector import shared_detector

DETECT_SIDE = 800  # px: longest side of the copy that is searched
MIN_DETECT_SIDE = 240  # px: smaller images are enlarged to this, or the smallest pyramid level would miss the face
MIN_FACE = 24  # px in that copy: faces from 3 % of the photo's longest side on
BORDER = 0.1  # of each side, mirrored around the copy: a face that touches all edges is found only with some
MIN_SCORE = 0.9  # of the last network; of 300 tight crops of real faces, all but two score more
SURE_SCORE = 0.99  # one find like this ends the search; in second searches lower scores are mostly texture
MIN_VISIBLE = 0.6  # of the box's area inside the photo; less is mostly mirrored border
TRAINING_MARGIN = 0.25  # dlib's padding, as in UTKFace's aligned crops
MAX_MARGIN = 2.0

# Where the detector finds eyes, nose tip and mouth corners in aligned training crops, as fractions of the side: medians
# over UTKFace crops (tests/bench/by_hand/bench_faces.py prints them), made symmetric about the vertical axis.
TEMPLATE = np.array([[0.302, 0.291], [0.698, 0.291], [0.500, 0.524], [0.323, 0.694], [0.677, 0.694]])
# 1 / variance of each landmark in those crops, relative to an eye: noses and mouths move with pose and expression.
WEIGHTS = np.array([1.0, 1.0, 0.35, 0.25, 0.25])

# An image that is already such a crop is used as it is: cropping it again would only lose its edges.
CROP_IOU = 0.72  # of the would-be crop with the whole image
CROP_ASPECT = 1.15  # longer / shorter side


@dataclass(frozen=True)
class Face:
    """One face.

    Attributes:
        box: Left, top, right and bottom in px of the image that it was found in, and within it.
        score: The detector's, 0 to 1.
        landmarks: Five (x, y) in px: the eye on the image's left, the other eye, nose tip, left and right mouth corner.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: tuple[tuple[float, float], ...] | None = None

    @property
    def area(self) -> float:
        """Area of the box in px squared."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])

    def to_dict(self) -> dict:
        """Returns what json.dumps accepts: box and landmarks in px with one decimal."""
        return {
            "box": [round(v, 1) for v in self.box],
            "score": round(self.score, 4),
            "landmarks": None if self.landmarks is None else [[round(x, 1), round(y, 1)] for x, y in self.landmarks],
        }


@dataclass(frozen=True)
class FaceView:
    """What a model is shown of a photo.

    Attributes:
        image: The crop of a face, or the whole photo.
        face: The face in it; None where none was found or none was looked for.
        faces: All faces that were found, largest first.
        notice: One sentence for the user, or None.
        image_size: Width and height in px of the photo, in which boxes and landmarks are measured; None if not known.
    """

    image: Image.Image
    face: Face | None
    faces: tuple[Face, ...] = ()
    notice: str | None = None
    image_size: tuple[int, int] | None = None


def find_faces(image: Image.Image) -> list[Face]:
    """Finds all faces.

    A photo without a sure find is searched again, brightened, as it stands and turned by a quarter and by half; a face
    found so is upright in its crop. This takes one pass over an 800 x 600 px copy whatever the photo's size, and five
    without a sure find.

    Args:
        image: A photo of any mode and size.

    Returns:
        The faces, largest first; an empty list where there is none.
    """
    image = image.convert("RGB")
    scale = min(DETECT_SIDE / max(image.size), 1.0)
    if max(image.size) < MIN_DETECT_SIDE:
        scale = MIN_DETECT_SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    copy = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    faces = _search(copy, image, 0)
    if not _sure(faces):
        copy = _brightened(copy)
        for quarter_turns in (0, 1, 3, 2):
            if _sure(again := _search(copy, image, quarter_turns)):
                faces = again
                break
    return sorted(faces, key=lambda face: -face.area)


def crop_face(image: Image.Image, face: Face, margin: float = TRAINING_MARGIN, side: int | None = None) -> Image.Image:
    """Cuts out a face, levelled and square. Parts beyond the photo's edge are mirrored from within.

    Args:
        image: The image that `face` was found in.
        face: The face.
        margin: What is left around the face on each side, as a fraction of the face; 0.25 is the training framing.
        side: Width and height of the result in px; None keeps the photo's resolution.

    Returns:
        The crop in mode RGB.

    Raises:
        FaceLLMError: For a margin outside 0..2 or a side below 1.
    """
    if not 0 <= margin <= MAX_MARGIN:
        raise FaceLLMError(f"A margin of {margin:g} is not possible: give one between 0 and {MAX_MARGIN:g}.")
    if side is not None and side < 1:
        raise FaceLLMError(f"A crop cannot be {side} px wide: give a side of 1 px or more.")
    matrix = _crop_matrix(face, margin)
    natural = max(1, round(float(np.hypot(*matrix[:, 0]))))  # px of the photo that the crop's side spans
    crop = _warp(image.convert("RGB"), matrix, natural)
    if side is not None and side != natural:
        crop = crop.resize((side, side), Image.Resampling.LANCZOS if side < natural else Image.Resampling.BICUBIC)
    return crop


def crop_corners(face: Face, margin: float = TRAINING_MARGIN) -> np.ndarray:
    """Returns the crop's corners in px of the photo, (4, 2): top left, top right, bottom right, bottom left."""
    matrix = _crop_matrix(face, margin)
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64)
    return unit @ matrix[:, :2].T + matrix[:, 2]


def view_face(image: Image.Image, face_index: int = 0, detect: bool = True) -> FaceView:
    """Chooses what a model is shown of a photo.

    Args:
        image: An upright RGB photo (`facellm.vision.images.load_image`).
        face_index: 0 for the largest face, 1 for the next, and so on.
        detect: False shows the whole image and searches nothing.

    Returns:
        The crop of that face; the whole image where it is such a crop already, or where no face was found.

    Raises:
        FaceLLMError: Where `face_index` is negative or there are not so many faces.
    """
    if face_index < 0:
        raise FaceLLMError(f"Face {face_index} is not possible: 0 is the largest face, 1 the next.")
    if not detect:
        return FaceView(image, None, image_size=image.size)
    faces = tuple(find_faces(image))
    if not faces:
        if face_index:
            raise FaceLLMError(
                f"Face {face_index} was asked for, but no face was found in the image: use another photo."
            )
        unsure = "No face was found, so the answers are about the whole image and may be unreliable."
        return FaceView(image, None, (), unsure, image.size)
    if face_index >= len(faces):
        found = "1 face was" if len(faces) == 1 else f"{len(faces)} faces were"
        raise FaceLLMError(
            f"Face {face_index} was asked for, but {found} found: choose from 0 to {len(faces) - 1}, largest first."
        )
    face = faces[face_index]
    notice: str | None = None
    if len(faces) > 1:
        rank = "the largest" if face_index == 0 else f"number {face_index + 1} by size"
        notice = f"{len(faces)} faces were found; the answers are about {rank}."
    if _is_crop_already(image, face):
        return FaceView(_squared(image), face, faces, notice, image.size)
    return FaceView(crop_face(image, face), face, faces, notice, image.size)


def _sure(faces: list[Face]) -> bool:
    return any(face.score >= SURE_SCORE for face in faces)


def _search(copy: Image.Image, image: Image.Image, quarter_turns: int) -> list[Face]:
    """Faces in `copy` turned counter-clockwise by `quarter_turns`, in px of `image`."""
    pixels = np.rot90(np.asarray(copy), quarter_turns)
    height, width = pixels.shape[:2]
    pad = (max(1, round(BORDER * height)), max(1, round(BORDER * width)))
    padded = np.pad(pixels, ((pad[0], pad[0]), (pad[1], pad[1]), (0, 0)), mode="symmetric")
    boxes, scores, found = shared_detector().detect(Image.fromarray(padded), MIN_FACE)
    # (n, 7, 2): two box corners and five landmarks travel together back to the photo
    points = np.concatenate([boxes.reshape(-1, 2, 2), found], axis=1).astype(np.float64)
    points -= (pad[1], pad[0])
    for _ in range(quarter_turns):  # each turn back: (x, y) -> (height - y, x), and the sides swap
        points = np.stack([height - points[..., 1], points[..., 0]], axis=-1)
        height, width = width, height
    points *= (image.width / width, image.height / height)
    faces = []
    for score, face in zip(scores, points, strict=True):
        full = face[:2].min(axis=0), face[:2].max(axis=0)
        left, top = np.clip(full[0], 0, image.size)
        right, bottom = np.clip(full[1], 0, image.size)
        visible = (right - left) * (bottom - top) / float(np.prod(full[1] - full[0]))
        if score < MIN_SCORE or visible < MIN_VISIBLE:
            continue
        landmarks = tuple((float(x), float(y)) for x, y in face[2:])
        faces.append(Face((float(left), float(top), float(right), float(bottom)), float(score), landmarks))
    return faces


def _brightened(image: Image.Image) -> Image.Image:
    """Stretch the contrast; lift the middle of what is still dark. For the detector's eyes only."""
    image = ImageOps.autocontrast(image, cutoff=1, preserve_tone=True)
    mean = float(np.asarray(image.convert("L")).mean()) / 255
    gamma = np.clip(np.log(0.45) / np.log(np.clip(mean, 1e-3, 0.999)), 0.3, 1.0)
    return image.point([round(255 * (v / 255) ** gamma) for v in range(256)] * 3)


def _crop_matrix(face: Face, margin: float) -> np.ndarray:
    """(2, 3) similarity from the crop's unit square to px of the photo."""
    if face.landmarks is None:  # a box alone tells neither tilt nor pose: centre on it, with the size such boxes have
        left, top, right, bottom = face.box
        side = max(right - left, bottom - top) * (1 + 2 * margin) / (1 + 2 * TRAINING_MARGIN) * 1.25
        x, y = (left + right) / 2, (top + bottom) / 2
        return np.array([[side, 0, x - side / 2], [0, side, y - side / 2]])
    template = 0.5 + (TEMPLATE - 0.5) * ((1 + 2 * TRAINING_MARGIN) / (1 + 2 * margin))
    return _similarity(template, np.asarray(face.landmarks, dtype=np.float64), WEIGHTS)


def _similarity(source: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Least-squares turn, scale and shift from `source` to `target`, both (n, 2), as (2, 3) (Umeyama, 1991)."""
    share = weights / weights.sum()
    source_mean, target_mean = share @ source, share @ target
    # A turn with scale in the plane is one complex factor, so the fit is a quotient of two sums.
    s, t = (source - source_mean) @ (1, 1j), (target - target_mean) @ (1, 1j)
    factor = (share * s.conj() * t).sum() / (share * np.abs(s) ** 2).sum()
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([turn, target_mean - turn @ source_mean])


def _warp(image: Image.Image, matrix: np.ndarray, side: int) -> Image.Image:
    """Cut the square that `matrix` (unit square -> photo) describes, `side` px wide; mirror what lies outside."""
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) @ matrix[:, :2].T + matrix[:, 2]
    low = np.floor(corners.min(axis=0)).astype(int) - 2  # 2 px for the bicubic kernel
    high = np.ceil(corners.max(axis=0)).astype(int) + 2
    inside_low, inside_high = np.maximum(low, 0), np.minimum(high, image.size)
    inside_low = np.minimum(inside_low, np.array(image.size) - 1)
    inside_high = np.maximum(inside_high, inside_low + 1)
    part = np.asarray(image.crop((*inside_low.tolist(), *inside_high.tolist())))
    before, after = np.maximum(inside_low - low, 0), np.maximum(high - inside_high, 0)
    if before.any() or after.any():
        part = np.pad(part, ((before[1], after[1]), (before[0], after[0]), (0, 0)), mode="symmetric")
    offset = inside_low - before
    step = matrix[:, :2] / side
    a, b, d, e = step[0, 0], step[0, 1], step[1, 0], step[1, 1]
    c, f = matrix[:, 2] - offset
    return Image.fromarray(part).transform(
        (side, side), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BICUBIC
    )


def _is_crop_already(image: Image.Image, face: Face) -> bool:
    """True where the levelled crop would be nearly the whole image: a face crop already, as data sets have."""
    if max(image.size) > CROP_ASPECT * min(image.size):
        return False
    corners = crop_corners(face)
    across, down = corners[1] - corners[0], corners[3] - corners[0]
    inverse = np.linalg.inv(np.column_stack([across, down]))
    steps = (np.arange(64) + 0.5) / 64
    grid = np.stack(np.meshgrid(steps * image.width, steps * image.height), axis=-1).reshape(-1, 2)
    local = (grid - corners[0]) @ inverse.T
    inter = ((local >= 0) & (local < 1)).all(axis=1).mean() * image.width * image.height
    union = image.width * image.height + float(across @ across) - inter
    return inter / union >= CROP_IOU


def _squared(image: Image.Image) -> Image.Image:
    """A nearly square image made square by its longer side, as the models' processors would do anyway."""
    side = max(image.size)
    return image if image.width == image.height else image.resize((side, side), Image.Resampling.BICUBIC)
