"""Hands the base's features to `train lora`, so that the adapter's training never opens a picture.

The cache is as `train.lora.feature_cache` reads it; its keys are the faces' names ("utkface/train/7.jpg"), so that a
data set that names its images in this way needs no files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText

from facellm.weights.fingerprint import encoder_digest
from facellm.weights.processor import FaceProcessor
from train.lora.feature_cache import write_features
from train.mini.vision.token_cache import Features

BATCH = 128


def write(features: Features, base: Path, out: Path) -> int:
    """Writes what the base's connector makes of all cached faces to `out`; returns how many they are."""
    model = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32).eval()
    names = sorted(features.row_of, key=features.row_of.__getitem__)

    def projected() -> Iterator[torch.Tensor]:
        with torch.inference_mode():
            for start in range(0, len(names), BATCH):
                tokens = torch.from_numpy(features.tokens[start : start + BATCH].astype("float32"))
                yield model.model.multi_modal_projector(tokens)

    write_features(out, names, projected(), encoder_digest(model, FaceProcessor.from_pretrained(base)))
    return len(names)
