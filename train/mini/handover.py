"""Hands the base's features to `train lora`, so that the adapter's training never opens a picture.

The cache is as `train.lora.feature_cache` reads it; its keys are the faces' names ("utkface/train/7.jpg"), so that a
data set that names its images in this way needs no files. Pictures without a face (`negatives.named`) stand behind
the faces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForImageTextToText

from facellm.weights.fingerprint import encoder_digest
from facellm.weights.processor import FaceProcessor
from train.lora.feature_cache import write_features
from train.mini.vision.augment import whole
from train.mini.vision.token_cache import Features
from train.nano.vision.augment import normalise

BATCH = 128


def write(features: Features, base: Path, out: Path, without: Iterable[tuple[str, np.ndarray]] = ()) -> int:
    """Writes what the base's encoder makes of pictures to `out`.

    Args:
        features: All cached faces.
        base: The base, in hub format.
        out: The folder to write.
        without: Name and uint8 pixels (side, side, 3) of pictures without a face.

    Returns:
        How many pictures there are.
    """
    model = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32).eval()
    names = sorted(features.row_of, key=features.row_of.__getitem__)
    drawn = list(without)
    side = model.config.vision_config.image_size[0]

    def projected() -> Iterator[torch.Tensor]:
        with torch.inference_mode():
            for start in range(0, len(names), BATCH):
                tokens = torch.from_numpy(features.tokens[start : start + BATCH].astype("float32"))
                yield model.model.multi_modal_projector(tokens)
            for start in range(0, len(drawn), BATCH):
                raw = torch.from_numpy(np.stack([pixels for _, pixels in drawn[start : start + BATCH]]))
                yield model.get_image_features(pixel_values=normalise(whole(raw, side).pixels)).pooler_output

    keys = [*names, *(name for name, _ in drawn)]
    write_features(out, keys, projected(), encoder_digest(model, FaceProcessor.from_pretrained(base)))
    return len(keys)
