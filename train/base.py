"""The base model of a training run: opened for training, named, and recognised again.

Input: a folder or hub name. Output: model, processor, identity. What this file does not know: adapters' training, data.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from facellm.errors import FaceLLMError
from facellm.processor import FaceProcessor

ADAPTER_WEIGHTS = "adapter_model.safetensors"
COMPLETE = "complete.json"  # written into a checkpoint after everything else
TRAINING = "training.json"  # beside an adapter's weights: base, data, recipe, figures
# Kept as they are in a 4-bit base; a bare `vision_tower` would match nothing and quantise the encoder silently.
UNQUANTIZED = ["lm_head", "model.vision_tower", "model.multi_modal_projector"]


@dataclass(frozen=True)
class BaseId:
    """Which model an adapter belongs to. `digest` samples every weight (`weights_digest`); sharding does not matter."""

    name: str
    revision: str | None
    digest: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def base_folder(name: str, revision: str | None = None) -> Path:
    """The folder of a local model, or of a hub model in the cache (downloaded where it is missing)."""
    path = Path(name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise FaceLLMError(f"{path} holds no config.json, so it is not a model; give the folder of an InternVL.")
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        patterns = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise FaceLLMError(
            f"The base {name} is neither a folder nor to be had from the hub ({type(error).__name__}); check the name, "
            "or download it where there is a network and give its folder."
        ) from None


def weights_digest(folder: Path) -> str:
    """SHA-256 over every tensor's name, shape and first row as bf16: the same however the files are sharded."""
    config = json.loads((folder / "config.json").read_text())
    tied = config.get("tie_word_embeddings", False)
    content: dict[str, bytes] = {}
    for file in sorted(folder.glob("*.safetensors")):
        if file.name == ADAPTER_WEIGHTS:
            continue
        with safe_open(file, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118 (not a dict)
                if tied and name == "lm_head.weight":
                    continue
                part = opened.get_slice(name)
                shape = part.get_shape()
                first = part[:1] if shape else opened.get_tensor(name)
                values = first.to(torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes()
                content[name] = f"{name}{shape}".encode() + values
    if not content:
        raise FaceLLMError(f"{folder} holds no *.safetensors; only models in that form are opened.")
    digest = hashlib.sha256()
    for name in sorted(content):
        digest.update(content[name])
    return digest.hexdigest()


def identify(name: str, folder: Path, revision: str | None = None) -> BaseId:
    if folder != Path(name) and revision is None:
        revision = folder.name  # the hub's cache names snapshots by commit
    return BaseId(str(name), revision, weights_digest(folder))


def open_base(folder: Path, precision: str, quantization: str, device: str) -> tuple[Any, FaceProcessor]:
    """Model in training precision and its processor. Raises FaceLLMError for anything but an InternVL."""
    from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

    kind = json.loads((folder / "config.json").read_text()).get("model_type")
    if kind != "internvl":
        raise FaceLLMError(f"{folder} is a {kind!r} model; FaceLLM trains InternVL in Hugging Face form ('internvl').")
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True}
    if quantization == "nf4":
        options["device_map"] = {"": device}
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=UNQUANTIZED,
        )
    try:
        model = AutoModelForImageTextToText.from_pretrained(folder, **options)
    except OSError as error:
        raise FaceLLMError(f"The model in {folder} cannot be opened: {str(error).splitlines()[0]}") from None
    return (model if quantization == "nf4" else model.to(device)), FaceProcessor.from_pretrained(folder)
