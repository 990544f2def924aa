"""The identity of weights, as digests that do not depend on where files lie or how they are sharded.

Runs, adapters and caches record these digests to recognise the weights that they belong to.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open

if TYPE_CHECKING:
    from facellm.weights.load import LoadedModel

ADAPTER_WEIGHTS = "adapter_model.safetensors"


def weights_digest(folder: Path) -> str:
    """Digests the weights of a checkpoint by a sample of every tensor.

    Args:
        folder: A checkpoint's folder, or that of a PEFT adapter. An adapter that lies beside a checkpoint's weights
            is not part of them.

    Returns:
        The SHA-256 over every tensor's name, shape and first row (as bfloat16), in the order of the names.
    """
    config = folder / "config.json"
    tied = config.is_file() and json.loads(config.read_text(encoding="utf-8")).get("tie_word_embeddings", False)
    files = sorted(folder.glob("*.safetensors"))
    content: dict[str, bytes] = {}
    for file in [f for f in files if f.name != ADAPTER_WEIGHTS] or files:
        with safe_open(file, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118 (not a dict)
                if tied and name == "lm_head.weight":
                    continue
                part = opened.get_slice(name)
                shape = part.get_shape()
                first = part[:1] if shape else opened.get_tensor(name)
                content[name] = f"{name}{shape}".encode() + _as_bytes(first)
    return hashlib.sha256(b"".join(content[name] for name in sorted(content))).hexdigest()


def answering_digest(loaded: LoadedModel) -> str:
    """Digests all weights that decide an opened model's answers: the base's, and FaceLLM's on or beside it.

    Returns:
        16 hexadecimal digits. The base counts even where FaceLLM alone is asked, because an adapter changes it.
    """
    places = dict.fromkeys((loaded.report.base or str(loaded.folder), loaded.report.facellm))
    digests = [weights_digest(Path(place)) for place in places if place]
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:16]


def encoder_digest(model: Any, processor: Any) -> str:
    """Digests what turns an image into features: the encoder's and projector's weights and the image settings.

    Args:
        model: An InternVLForConditionalGeneration, or a PeftModel around one. The digest is the same for a model
            opened in float32, in bfloat16, or with a quantised decoder.
        processor: Its processor.

    Returns:
        A SHA-256 as 64 hexadecimal digits.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    digest = hashlib.sha256()
    for part in ("vision_tower", "multi_modal_projector"):
        for name, weight in getattr(base.model, part).state_dict().items():
            digest.update(f"{part}.{name}{tuple(weight.shape)}".encode() + _as_bytes(weight))
    settings = processor.image_processor.to_dict()
    named = {key: settings.get(key) for key in ("size", "image_mean", "image_std", "rescale_factor", "resample")}
    digest.update(json.dumps(named, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _as_bytes(weight: torch.Tensor) -> bytes:
    return weight.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes()
