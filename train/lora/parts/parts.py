"""The parts of an InternVL that a run may train, by name, and the check that these train and nothing else.

Needs no torch: a model is only asked for its parameters' names and sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from facellm.errors import FaceLLMError

if TYPE_CHECKING:
    from train.lora.recipe import Recipe

PARTS = {
    "adapter": "a LoRA on the decoder's linear layers",
    "projector": "the projector between encoder and decoder",
    "decoder": "the language model, embedding and head included",
    "encoder": "the image encoder",
}
ALL = ("encoder", "projector", "decoder")  # what "all" stands for: full fine-tuning
MODULES = {"encoder": "vision_tower", "projector": "multi_modal_projector"}  # of an InternVL, by part
# Initial weights that change the base, so that the adapter is stored as its difference, at twice the rank.
CHANGE_BASE = ("pissa", "olora")


def read_parts(text: str) -> tuple[str, ...]:
    """Reads names of parts with commas between; "all" is full fine-tuning.

    Raises:
        FaceLLMError: For an unknown part, none, or an adapter on a decoder that trains itself.
    """
    names = dict.fromkeys(part.strip() for part in text.split(","))
    found = dict.fromkeys(part for name in names for part in (ALL if name == "all" else (name,)))
    if unknown := [name for name in found if name not in PARTS]:
        raise FaceLLMError(f"There is no part {unknown[0]!r} to train; choose from {', '.join(PARTS)} and all.")
    if "adapter" in found and "decoder" in found:
        raise FaceLLMError("An adapter stands for changes of the decoder; train either of the two, not both.")
    return tuple(found)


def parts_of(recipe: Recipe) -> tuple[str, ...]:
    """The parts that a recipe trains."""
    return read_parts(recipe.train)


def leaves_adapter(recipe: Recipe) -> bool:
    """Whether a run leaves an adapter for its base; it leaves a whole model where more than an adapter trains."""
    return parts_of(recipe) == ("adapter",)


def images_change(recipe: Recipe) -> bool:
    """Whether an image's features change while training, so that they cannot be cached."""
    return bool({"encoder", "projector"} & set(parts_of(recipe)))


def part_of_weight(name: str) -> str:
    """Returns the part that a parameter belongs to, by its name."""
    if "lora_" in name:
        return "adapter"
    return next((part for part, module in MODULES.items() if f".{module}." in f".{name}"), "decoder")


def counts(model: Any) -> dict[str, tuple[int, int]]:
    """Counts parameters by part.

    Returns:
        Part -> (parameters that train, all of them), for each part that the model has.
    """
    found: dict[str, tuple[int, int]] = {}
    for name, weight in model.named_parameters():
        if ".original_module." in name:  # PEFT keeps the untrained copy of a module that trains in full beside it
            continue
        trains, total = found.get(part_of_weight(name), (0, 0))
        size = weight.numel()
        found[part_of_weight(name)] = (trains + size * weight.requires_grad, total + size)
    return {part: found[part] for part in PARTS if part in found}


def check_trainable(model: Any, parts: tuple[str, ...]) -> None:
    """Raises RuntimeError unless these parts train in full and no other does at all."""
    for part, (trains, total) in counts(model).items():
        if part in parts and trains != total:
            raise RuntimeError(f"Only {trains:,} of {total:,} parameters of the {part} would train.")
        if part not in parts and trains:
            raise RuntimeError(f"{trains:,} parameters of the {part} would train, but it must stay as it is.")
    if missing := set(parts) - set(counts(model)):
        raise RuntimeError(f"The model has no {missing.pop()} to train.")


def told(found: Mapping[str, tuple[int, int]]) -> str:
    """Says what trains, part by part."""
    trained = [f"{part} {trains:,}" for part, (trains, _) in found.items() if trains]
    frozen = [f"{part} {total:,}" for part, (trains, total) in found.items() if not trains]
    return f"parameters that train: {', '.join(trained)}" + (f"; frozen: {', '.join(frozen)}" if frozen else "")


def check_combination(recipe: Recipe, source: str) -> None:
    """Raises FaceLLMError for settings that cannot go together."""
    parts = parts_of(recipe)
    full = [part for part in parts if part != "adapter"]
    changes = recipe.init.split("_")[0] in CHANGE_BASE
    if full and recipe.quantization != "none":
        raise FaceLLMError(
            f"{source} train the {' and '.join(full)} of a base in {recipe.quantization}, whose weights cannot be "
            "written back in full; take --quantization none, or train the adapter alone."
        )
    of_adapter = ("target_modules", "use_dora", "use_rslora", "loraplus_ratio")
    chosen = [name for name in of_adapter if getattr(recipe, name)] + ["init"] * (recipe.init != "default")
    if "adapter" not in parts and chosen:
        raise FaceLLMError(f"{chosen[0]} in {source} is of an adapter, but train names none; leave it out.")
    if changes and recipe.quantization != "none":
        raise FaceLLMError(
            f"init {recipe.init} in {source} takes the base's weights apart, which {recipe.quantization} does not "
            "allow; take --quantization none, or another --init."
        )
    if changes and recipe.use_dora:
        raise FaceLLMError(f"init {recipe.init} and use_dora in {source} cannot be stored as one adapter; take either.")
