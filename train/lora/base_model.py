"""The base model of a training run: found, named, opened for training, recognised again, and given an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facellm.errors import FaceLLMError
from facellm.weights import checkpoint
from facellm.weights.fingerprint import ADAPTER_WEIGHTS, weights_digest
from facellm.weights.load import open_model
from facellm.weights.registry import MODELS, NANO, resolve, split_revision

if TYPE_CHECKING:
    from train.lora.recipe import Recipe

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


def open_base(folder: Path, precision: str, quantization: str, device: str) -> tuple[Any, Any]:
    """Opens a base alone, frozen, in training precision. Returns the model and its processor."""
    dtype = "bfloat16" if precision == "bf16" else "float32"
    loaded = open_model(str(folder), quantization=quantization, device=device, dtype=dtype)
    return loaded.model, loaded.processor


def add_adapter(net: Any, recipe: Recipe) -> Any:
    """Puts a new LoRA on every linear layer of the decoder and on nothing else.

    Args:
        net: An InternVLForConditionalGeneration; its own weights are frozen.
        recipe: Rank, alpha and dropout.

    Returns:
        The PeftModel.

    Raises:
        RuntimeError: Where anything but the decoder's adapter would train.
    """
    from peft import LoraConfig, get_peft_model
    from torch import nn

    decoder = net.model.language_model
    kinds = sorted({name.rsplit(".", 1)[-1] for name, layer in decoder.named_modules() if isinstance(layer, nn.Linear)})
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=rf".*language_model\.layers\..*\.({'|'.join(kinds)})",
        task_type="CAUSAL_LM",
    )
    net.requires_grad_(False)
    made = get_peft_model(net, config)
    for name, weight in made.named_parameters():
        if weight.requires_grad and not ("lora_" in name and ".language_model." in name):
            raise RuntimeError(f"{name} would train, but encoder, projector and head must stay as they are.")
    return made


def start_from(peft: Any, folders: Sequence[Path]) -> None:
    """Puts another run's adapter into this one, or the mean of several.

    Runs that began with the same weights may be averaged (Wortsman et al. 2022, "Model soups").

    Raises:
        FaceLLMError: Where one does not fit.
    """
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
    mean = {name: sum(one[name].float() for one in weights) / len(weights) for name in weights[0]}
    set_peft_model_state_dict(peft, mean)
