"""The base model of a training run: found, named, opened for training, and recognised again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from facellm.weights import checkpoint
from facellm.weights.fingerprint import ADAPTER_WEIGHTS, weights_digest
from facellm.weights.load import open_model, read_weights
from facellm.weights.registry import MODELS, NANO, resolve, split_revision

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "float32": "float32"}  # by a recipe's precision
TRAINING = "training.json"  # beside an adapter's weights: base, data, recipe, figures
# Embedded models have no hub id; adapters name them by their place in this project.
EMBEDDED = {
    str(Path(spec.base).relative_to(NANO.parents[1]).as_posix()): name
    for name, spec in MODELS.items()
    if Path(spec.base).is_absolute()
}


@dataclass(frozen=True)
class BaseId:
    """Which model an adapter belongs to.

    Attributes:
        name: A hub id, an embedded model's place (`EMBEDDED`), or a folder.
        revision: The commit on the hub, where it is known.
        digest: A sample of every weight (`weights_digest`); sharding does not matter.
    """

    name: str
    revision: str | None
    digest: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def public_name(model: str) -> str:
    """Returns the name by which others find a base: the hub id of a registry name, and anything else as it is."""
    spec = MODELS.get(split_revision(model)[0].lower())
    if spec is None:
        return str(model)
    return next((place for place, name in EMBEDDED.items() if name == spec.name), spec.base)


def local_name(name: str) -> str:
    """Returns the name by which this project opens a base: the registry's for an embedded model's place."""
    return EMBEDDED.get(str(name), str(name))


def base_folder(name: str) -> Path:
    """Finds a base and fetches it where it is missing.

    Args:
        name: A name of the registry, an embedded model's place, a folder, or a hub name, optionally with @revision.

    Returns:
        The local folder of an InternVL in safetensors.

    Raises:
        FaceLLMError: Where there is none.
    """
    source = resolve(local_name(name))
    if source.base is None:
        raise FaceLLMError(f"{name} names no base; give the folder or the hub name of an InternVL.")
    folder = checkpoint.model_folder(source.base, source.base_revision or source.merged_revision)
    checkpoint.check(folder)
    return folder


def identify(name: str, folder: Path) -> BaseId:
    """Returns the identity of the base in a folder, under its public name."""
    return BaseId(public_name(name), checkpoint.commit_of(folder), weights_digest(folder))


def open_base(folder: Path, precision: str, quantization: str, device: str, sharded: bool = False) -> tuple[Any, Any]:
    """Opens a base alone, frozen, in training precision.

    Args:
        folder: The base's.
        precision: A recipe's.
        quantization: A recipe's.
        device: For example "cuda:1".
        sharded: Whether FSDP will share the weights out, for which 4-bit ones are packed into the others' type.

    Returns:
        The model and its processor.
    """
    # On CPUs with AVX512-BF16 bitsandbytes looks for an optional package and warns where it is missing.
    logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(_not_optional)
    if sharded and quantization != "none":
        import torch

        dtype = getattr(torch, DTYPES[precision])
        return read_weights(folder, dtype, quantization, device, storage=dtype), checkpoint.open_processor(folder)
    loaded = open_model(str(folder), quantization=quantization, device=device, dtype=DTYPES[precision])
    return loaded.model, loaded.processor


def _not_optional(record: logging.LogRecord) -> bool:
    return "kernels" not in record.getMessage()


def check_record(adapter: Path) -> None:
    """Raises FaceLLMError where an adapter's weights are not those that the records beside them describe."""
    known = checkpoint.read_json(adapter / TRAINING).get("weights")
    if known is not None and known != weights_digest(adapter):
        raise FaceLLMError(
            f"The weights in {adapter} are not those that its {TRAINING} describes; take the folder as `train lora` "
            "wrote it (a mean of adapters is one that a run began with, by --start and --start-shares)."
        )


def start_from(peft: Any, folders: Sequence[Path], shares: Sequence[float] = ()) -> None:
    """Puts another run's adapter into this one, or the mean of several.

    Runs that began with the same weights may be averaged (Wortsman et al. 2022, "Model soups").

    Args:
        peft: The new adapter's model.
        folders: The adapters.
        shares: How much each weighs in the mean; none for equal shares.

    Raises:
        FaceLLMError: Where one does not fit, or there are more or fewer shares than adapters.
    """
    shares = list(shares) or [1.0] * len(folders)
    if len(shares) != len(folders) or min(shares) < 0 or not sum(shares):
        raise FaceLLMError(f"--start-shares needs {len(folders)} numbers from 0 on, one for each adapter of --start.")
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    weights = []
    for folder in folders:
        file = Path(folder) / ADAPTER_WEIGHTS
        if not file.is_file():
            raise FaceLLMError(f"{folder} holds no {ADAPTER_WEIGHTS} to start from; name an adapter folder.")
        weights.append(load_file(file))
        try:
            loaded = set_peft_model_state_dict(peft, weights[-1])
        except (RuntimeError, KeyError) as error:
            raise FaceLLMError(
                f"The adapter in {folder} is of another shape ({error}); use its rank and its base."
            ) from None
        if loaded.unexpected_keys:
            raise FaceLLMError(
                f"The adapter in {folder} is of another model: {loaded.unexpected_keys[0]} is not in this one."
            )
    parts = [share / sum(shares) for share in shares]
    mean = {
        name: sum(share * one[name].float() for share, one in zip(parts, weights, strict=True)) for name in weights[0]
    }
    set_peft_model_state_dict(peft, mean)
