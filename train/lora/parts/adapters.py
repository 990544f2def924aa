"""Puts what a recipe trains onto an opened base: a LoRA in any of its forms, whole parts, or both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from facellm.errors import FaceLLMError
from train.lora.parts.parts import CHANGE_BASE, MODULES, check_trainable, part_of_weight, parts_of

if TYPE_CHECKING:
    from train.lora.recipe import Recipe


def make_trainable(net: Any, recipe: Recipe) -> Any:
    """Makes the parts that a recipe names trainable, and nothing else.

    Args:
        net: An InternVLForConditionalGeneration, frozen.
        recipe: What trains, and the adapter's settings.

    Returns:
        A PeftModel where an adapter is among the parts, else `net`. Whatever trains is in float32.

    Raises:
        FaceLLMError: For target modules that the decoder does not have.
        RuntimeError: Where anything else would train.
    """
    from peft import LoraConfig, get_peft_model

    parts = parts_of(recipe)
    net.requires_grad_(False)
    model = net
    if "adapter" in parts:
        whole = [module for part, module in MODULES.items() if part in parts]
        config = LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            target_modules=rf".*language_model\.layers\..*\.({'|'.join(target_layers(net, recipe.target_modules))})",
            use_dora=recipe.use_dora,
            use_rslora=recipe.use_rslora,
            init_lora_weights=True if recipe.init == "default" else recipe.init,
            modules_to_save=whole or None,
            task_type="CAUSAL_LM",
        )
        model = get_peft_model(net, config)
    else:
        for name, weight in net.named_parameters():
            weight.requires_grad_(part_of_weight(name) in parts)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()  # an update is often smaller than bf16's step
    if "encoder" in parts:  # its output is in float32, which a layer norm in bf16 does not take on a CPU
        getattr(net.model, MODULES["projector"]).float()
    check_trainable(model, parts)
    return model


def target_layers(net: Any, chosen: str = "") -> list[str]:
    """Names the kinds of the decoder's linear layers that get an adapter.

    Args:
        net: The base.
        chosen: Kinds with commas between ("q_proj,v_proj"); empty, or "all-linear", for all there are.

    Raises:
        FaceLLMError: For a kind that the decoder does not have.
    """
    decoder = net.model.language_model
    kinds = sorted({name.rsplit(".", 1)[-1] for name, layer in decoder.named_modules() if isinstance(layer, nn.Linear)})
    wanted = [name.strip() for name in chosen.split(",") if name.strip()]
    if not wanted or wanted == ["all-linear"]:
        return kinds
    if unknown := [name for name in wanted if name not in kinds]:
        raise FaceLLMError(
            f"The decoder has no linear layers {unknown[0]!r} for --target-modules; it has {', '.join(kinds)}."
        )
    return sorted(set(wanted))


def keep_initial(model: Any, recipe: Recipe, folder: Path) -> Path | None:
    """Writes an adapter's initial weights where they changed the base, so that the trained one can be stored for it.

    Args:
        model: What `make_trainable` returned.
        recipe: Its settings.
        folder: Where the initial weights go.

    Returns:
        The folder, for `PeftModel.save_pretrained`; None where the base is unchanged.
    """
    if recipe.init.split("_")[0] not in CHANGE_BASE or "adapter" not in parts_of(recipe):
        return None
    model.save_pretrained(folder)
    return folder


def optimizer(trainer: Any, model: Any, ratio: float) -> torch.optim.Optimizer:
    """LoRA+ (Hayou et al. 2024, arXiv 2402.12354): B learns `ratio` times as fast as A.

    Args:
        trainer: The Hugging Face Trainer, whose optimiser class and settings are used.
        model: The PeftModel.
        ratio: Of the two learning rates.
    """
    from peft.optimizers import create_loraplus_optimizer

    kind, settings = trainer.get_optimizer_cls_and_kwargs(trainer.args, model)
    decay = trainer.args.weight_decay
    settings = {**settings, "loraplus_weight_decay": decay}
    rate = settings.pop("lr", trainer.args.learning_rate)
    return create_loraplus_optimizer(model, kind, lr=rate, loraplus_lr_ratio=ratio, **settings)
