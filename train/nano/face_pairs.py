"""Hands nano's face pairs to `train lora`: its data set and feature cache, as for any other model.

Reads `corpus/{facellm,val}.jsonl`, the cached patch tokens and the base model; writes `work/facellm/{train,val}.jsonl`
(ShareGPT rows, image `views/N`) and `work/features` (what the base's projector makes of every view), so that the
adapter's training never opens an image.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForImageTextToText

from facellm.weights.fingerprint import encoder_digest
from facellm.weights.processor import FaceProcessor
from train.lora.feature_cache import write_features
from train.nano import assemble
from train.nano.language.corpus import write


def _rows(source: Path, limit: int | None = None) -> Iterator[dict]:
    with source.open() as handle:
        for number, line in enumerate(handle):
            if limit is not None and number >= limit:
                return
            row = json.loads(line)
            for turns in row["conversations"]:
                said = [
                    {"from": who, "value": text}
                    for question, answer in turns
                    for who, text in (("human", question), ("gpt", answer))
                ]
                yield {"images": [f"views/{row['view']}"], "conversations": said}


def build(work: Path, *, limit: int | None = None, batch: int = 256) -> dict[str, int]:
    """Writes data set and features; `limit` keeps the first lines of the corpus only. Returns the counts."""
    out = work / "facellm"
    counts = {
        "train": write(out / "train.jsonl", _rows(work / "corpus" / "facellm.jsonl", limit)),
        "val": write(out / "val.jsonl", _rows(work / "corpus" / "val.jsonl")),
    }
    model = AutoModelForImageTextToText.from_pretrained(work / "base", dtype=torch.float32).eval()
    tokens = np.load(work / "tokens.npy", mmap_mode="r")

    def projected() -> Iterator[torch.Tensor]:
        with torch.inference_mode():
            for start in range(0, len(tokens), batch):
                part = torch.from_numpy(tokens[start : start + batch].astype(np.float32))
                yield model.model.multi_modal_projector(assemble.shuffled(model, part))

    keys = [f"views/{view}" for view in range(len(tokens))]
    mark = encoder_digest(model, FaceProcessor.from_pretrained(work / "base"))
    write_features(work / "features", keys, projected(), mark)
    return counts | {"views": len(keys)}
