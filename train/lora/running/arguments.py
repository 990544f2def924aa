"""The Trainer's settings of a recipe, after the machine was asked whether it can do what they say."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from train.lora.parts.parts import CHANGE_BASE, leaves_adapter, parts_of
from train.lora.recipe import Recipe


def sharded(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether accelerate was told to shard the model, by FSDP or DeepSpeed."""
    return any(environment.get(f"ACCELERATE_USE_{name}") == "true" for name in ("FSDP", "DEEPSPEED"))


def check_sharding(recipe: Recipe, environment: Mapping[str, str] = os.environ) -> None:
    """Raises FaceLLMError for a recipe that accelerate's way of sharding cannot carry out.

    Args:
        recipe: The settings.
        environment: What `accelerate launch` set.
    """
    if not sharded(environment):
        return
    fsdp = environment.get("ACCELERATE_USE_FSDP") == "true"
    if fsdp and environment.get("FSDP_VERSION", "1") == "1" and recipe.precision != "float32":
        raise FaceLLMError(
            f"FSDP 1 cannot keep frozen weights in {recipe.precision} and trained ones in float32 in one layer; use "
            "version 2, as train/recipes/accelerate/fsdp.yaml does, or --precision float32."
        )
    if not fsdp and recipe.quantization != "none" and environment.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3":
        raise FaceLLMError(
            f"DeepSpeed ZeRO stage 3 cannot share out a base in {recipe.quantization}; use stage 2, or "
            "train/recipes/accelerate/fsdp.yaml."
        )
    if "adapter" in parts_of(recipe) and not leaves_adapter(recipe):
        raise FaceLLMError("An adapter beside whole parts cannot be merged where the model is sharded; train either.")
    if recipe.init.split("_")[0] in CHANGE_BASE:
        raise FaceLLMError(f"init {recipe.init} cannot be stored where the model is sharded; take --init default.")


def check_precision(recipe: Recipe, use_cpu: bool) -> None:
    """Refuses fp16 on a CPU, and tells where a card only emulates bf16.

    Raises:
        FaceLLMError: For fp16 without a GPU.
    """
    import torch

    if recipe.precision == "fp16" and use_cpu:
        raise FaceLLMError("fp16 needs a GPU, whose gradients it scales; on a CPU take --precision bf16 or float32.")
    if recipe.precision == "bf16" and not use_cpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        print(
            f"{torch.cuda.get_device_name()} only emulates bf16, slowly; --precision fp16 is what it computes itself.",
            file=sys.stderr,
        )


def training_arguments(
    out: Path, recipe: Recipe, device: str | None = None, trackers: Sequence[str] = (), unused: bool = False
) -> Any:
    """Makes the Trainer's settings.

    Args:
        out: The run's folder.
        recipe: All settings.
        device: "cpu" or "cuda"; None takes CUDA where there is some.
        trackers: Names of the Trainer's own callbacks that report.
        unused: Whether some forward passes may leave weights that train without a gradient.

    Returns:
        TrainingArguments.

    Raises:
        FaceLLMError: Where the machine cannot do it.
    """
    import torch
    from transformers import TrainingArguments

    use_cpu = device == "cpu" or (device is None and not torch.cuda.is_available())
    if device not in (None, "cpu") and not torch.cuda.is_available():
        raise FaceLLMError(f"There is no {device} device here; leave --device out or say --device cpu.")
    check_precision(recipe, use_cpu)
    check_sharding(recipe)
    return TrainingArguments(
        output_dir=str(out / "checkpoints"),
        run_name=out.name,
        project="facellm",
        per_device_train_batch_size=1,  # the plan decides; this only fills the Trainer's log
        num_train_epochs=recipe.epochs,
        max_steps=recipe.max_steps or -1,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=recipe.warmup,  # below 1: a share of all steps
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.precision == "bf16",
        fp16=recipe.precision == "fp16",
        logging_steps=recipe.log_every,
        eval_strategy="steps" if recipe.eval_every else "no",
        eval_steps=recipe.eval_every or None,
        save_strategy="steps" if recipe.save_every else "no",
        save_steps=recipe.save_every or 500,
        save_total_limit=2,
        report_to=list(trackers),
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=recipe.seed,
        use_cpu=use_cpu,
        ddp_backend="gloo" if use_cpu and int(os.environ.get("WORLD_SIZE", "1")) > 1 else None,
        ddp_find_unused_parameters=unused,
    )
