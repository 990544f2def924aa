"""`python -m train lora`: a LoRA adapter on the decoder of an InternVL, from a folder of conversations about images.

Input: a data set (train.lora.conversations), a base model, a recipe (train.lora.recipe). Output, in --out::

    adapter/       adapter_model.safetensors, adapter_config.json, recipe.yaml, training.json (base, data digest,
                   figures), README.md; `facellm` opens it by path
    metrics.jsonl  one line for each logged step and each evaluation;  loss.png;  samples.jsonl
    features/      the images' vision features (unless cache_features is off or --features names a cache)
    checkpoints/   what a killed run goes on from; the same command goes on by itself

What it does not know: how the data was made, and how good the adapter is (`train evaluate`).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError, out_of_memory
from train.lora.recipe import FREE, Recipe, add_flags, from_flags, names


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m train lora", description=__doc__.splitlines()[0])
    made.add_argument("--data", type=Path, required=True, help="folder with dataset.json (or .jsonl) and its images")
    made.add_argument(
        "--model",
        default="nano",
        help="base model: a name (nano, 1b, 8b, ...), a folder, or a hub name, optionally name@revision",
    )
    made.add_argument("--base-name", default=None, help="what to call the base in the adapter (default: --model)")
    made.add_argument("--out", type=Path, required=True, help="folder for the adapter, checkpoints and figures")
    made.add_argument("--recipe", default=None, help=f"{', '.join(names())}, or the path of a .yaml file")
    made.add_argument(
        "--features", type=Path, default=None, help="feature cache to use or to make (see train.lora.feature_cache)"
    )
    made.add_argument("--skip-long", action="store_true", help="leave out rows longer than the cutoff")
    made.add_argument("--val-data", type=Path, default=None, help="validation set, where --data has none of its own")
    made.add_argument(
        "--start",
        type=Path,
        nargs="+",
        default=(),
        metavar="ADAPTER",
        help="adapter folder whose weights the run begins with; of several, their mean",
    )
    made.add_argument("--overwrite", action="store_true", help="begin anew where --out holds a run already")
    made.add_argument("--device", default=None, help="cpu or cuda (default: cuda where there is one)")
    add_flags(made)
    return made


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)
    recipe = from_flags(args)
    figures = train(
        args.data,
        args.model,
        args.out,
        recipe,
        base_name=args.base_name,
        features=args.features,
        skip_long=args.skip_long,
        val_data=args.val_data,
        overwrite=args.overwrite,
        start=args.start,
        device=args.device,
    )
    if figures:
        print(json.dumps(figures))
    return 0


def train(
    data: Path,
    model: str,
    out: Path,
    recipe: Recipe,
    *,
    base_name: str | None = None,
    features: Path | None = None,
    skip_long: bool = False,
    val_data: Path | None = None,
    overwrite: bool = False,
    start: Sequence[Path] = (),
    device: str | None = None,
) -> dict[str, Any]:
    """Trains one adapter and returns its figures (empty on all but the first of several processes).

    Raises FaceLLMError for bad data, a checkpoint of another run, or too little memory; each says what to do.
    """
    from transformers import PrinterCallback, set_seed
    from transformers.utils import logging

    from train.lora import artifacts
    from train.lora.base_model import base_folder, identify, open_base
    from train.lora.conversations import check_images, check_lengths, read_dataset, tokenize
    from train.lora.packing import use_packed_attention
    from train.lora.trainer import FaceTrainer, StepPlan

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)  # PEFT's call
    out = Path(out)
    arguments = _arguments(out, recipe, device)
    first = arguments.process_index == 0
    folder = base_folder(model)
    base = identify(base_name or model, folder)
    dataset = read_dataset(data)
    if val_data is not None:
        held_out = read_dataset(val_data)
        dataset = dataclasses.replace(dataset, val=_elsewhere(held_out, dataset.folder))
    run = {"base": base.to_dict(), "data": dataset.digest, "recipe": dataclasses.asdict(recipe)}
    if start:
        run["start"] = " ".join(Path(one).name for one in start)
    with arguments.main_process_first(local=False, desc="preparing the run's folder"):
        checkpoint = _resume_point(out, run, overwrite, first)

    # A sharded model is read into main memory; accelerate then puts each process's part onto its GPU.
    where = "cpu" if os.environ.get("ACCELERATE_USE_FSDP") == "true" else str(arguments.device)
    net, processor = open_base(folder, recipe.precision, recipe.quantization, where)
    images = _images(_features(features, dataset, out), net, processor, dataset, recipe, arguments, check_images)
    train_packs, val_packs = (
        _packs(check_lengths(tokenize(processor, rows), recipe.cutoff, skip_long), recipe, net.config.image_token_id)
        for rows in (dataset.train, dataset.val)
    )
    chosen = val_packs[: recipe.val_images or None]
    plan = StepPlan(
        train_packs, recipe.batch, recipe.micro_tokens, recipe.seed, arguments.world_size, arguments.process_index
    )
    arguments.gradient_accumulation_steps = plan.accumulate
    # Every process draws the same initial weights.
    set_seed(recipe.seed)
    peft = add_adapter(net, recipe)
    if start:
        start_from(peft, start)
    if recipe.gradient_checkpointing:
        enable = getattr(net, "activation_checkpointing_enable", None) or net.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    if recipe.packed:
        use_packed_attention(peft)
    log = artifacts.Log(out, plan, first)
    trainer = FaceTrainer(
        peft, arguments, train_packs, chosen, plan, images, recipe.micro_tokens, recipe.packed, recipe.weighting,
        callbacks=[artifacts.Marks(run), log, *artifacts.samples(out, recipe, dataset, processor, images, first)],
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)  # `Log` prints
    log.trainer = trainer
    if first:
        print(artifacts.summary(recipe, base, dataset, train_packs, chosen, plan, peft, checkpoint), file=sys.stderr)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        final = trainer.last_evaluation or trainer.evaluate()
    except (MemoryError, RuntimeError) as error:
        if out_of_memory(error):
            raise FaceLLMError(_out_of_memory(recipe)) from None
        raise
    trainer.save_model(str(out / "adapter.part"))
    if not first:
        return {}
    figures = log.figures(final)
    artifacts.finish(out, recipe, base, dataset, figures, peft)
    return figures


def _elsewhere(other: Any, folder: Path) -> tuple:
    """The examples of another data folder, their image paths made absolute."""
    rows = other.train + other.val
    return tuple(
        r if r.image is None else dataclasses.replace(r, image=str(other.path(r.image).absolute())) for r in rows
    )


def _arguments(out: Path, recipe: Recipe, device: str | None) -> Any:
    import torch
    from transformers import TrainingArguments

    use_cpu = device == "cpu" or (device is None and not torch.cuda.is_available())
    if device not in (None, "cpu") and not torch.cuda.is_available():
        raise FaceLLMError(f"There is no {device} device here; leave --device out or say --device cpu.")
    return TrainingArguments(
        output_dir=str(out / "checkpoints"),
        per_device_train_batch_size=1,  # the plan decides; this only fills the Trainer's log
        num_train_epochs=recipe.epochs,
        max_steps=recipe.max_steps or -1,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=recipe.warmup,  # below 1: a share of all steps
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.precision == "bf16",
        logging_steps=recipe.log_every,
        eval_strategy="steps" if recipe.eval_every else "no",
        eval_steps=recipe.eval_every or None,
        save_strategy="steps" if recipe.save_every else "no",
        save_steps=recipe.save_every or 500,
        save_total_limit=2,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=recipe.seed,
        use_cpu=use_cpu,
        ddp_backend="gloo" if use_cpu and int(os.environ.get("WORLD_SIZE", "1")) > 1 else None,
        ddp_find_unused_parameters=False,
    )


def _resume_point(out: Path, run: dict, overwrite: bool, first: bool) -> Path | None:
    """The newest whole checkpoint of this very run, or None to begin."""
    from train.lora.base_model import COMPLETE

    checkpoints, adapter = out / "checkpoints", out / "adapter"
    if overwrite and first:
        for folder in (checkpoints, adapter):
            shutil.rmtree(folder, ignore_errors=True)
        for name in ("metrics.jsonl", "samples.jsonl", "loss.png"):
            (out / name).unlink(missing_ok=True)
    if adapter.is_dir():
        raise FaceLLMError(f"{adapter} holds a finished adapter; name another --out, or begin anew with --overwrite.")
    whole = sorted(checkpoints.glob(f"checkpoint-*/{COMPLETE}"), key=lambda path: int(path.parent.name.split("-")[1]))
    if not whole:
        return None
    made = json.loads(whole[-1].read_text())
    if made["base"]["digest"] != run["base"]["digest"]:
        raise FaceLLMError(
            f"The checkpoint in {checkpoints} was trained on another base ({made['base']['name']}) than "
            f"{run['base']['name']}; name another --out, or begin anew with --overwrite."
        )
    if made["data"] != run["data"]:
        raise FaceLLMError(
            f"The data set has changed since the checkpoint in {checkpoints} was written; name another --out, or begin "
            "anew with --overwrite."
        )
    changed = [k for k, v in run["recipe"].items() if k not in FREE and made["recipe"].get(k) != v]
    if changed:
        raise FaceLLMError(
            f"The checkpoint in {checkpoints} was trained with {changed[0]}={made['recipe'].get(changed[0])}, not "
            f"{run['recipe'][changed[0]]}; use the same settings, name another --out, or begin anew with --overwrite."
        )
    return whole[-1].parent


def _features(given: Path | None, dataset: Any, out: Path) -> Path:
    beside = dataset.folder / "features"
    return given or (beside if (beside / "index.json").is_file() else out / "features")


def _images(folder: Path, net: Any, processor: Any, dataset: Any, recipe: Recipe, arguments: Any, check: Any) -> Any:
    """How a batch gets its images: rows of the feature cache, or pixels. Raises FaceLLMError for missing files."""
    from facellm.weights.fingerprint import encoder_digest
    from train.lora.feature_cache import FeatureCache, cache_images, pixels

    given = FeatureCache(folder, encoder_digest(net, processor)) if (folder / "index.json").is_file() else None
    check(dataset, known=given.rows if given else ())
    paths = {image: dataset.path(image) for image in dataset.images()}
    if not recipe.cache_features and given is None:
        return lambda images: {"pixel_values": pixels(processor, [paths[image] for image in images])}

    def progress(done: int, of: int) -> None:
        print(f"\rencoding images: {done}/{of}", end="\n" if done == of else "", file=sys.stderr)

    with arguments.main_process_first(local=False, desc="encoding images"):
        cache, rows = cache_images(folder, net, processor, paths, progress=progress)
    return lambda images: {"image_features": cache.read([rows[image] for image in images])}


def _packs(rows: Sequence[Any], recipe: Recipe, image_token_id: int) -> list[Any]:
    """Packs of each image's rows, or one pack a row for the plain path; images in the order of the data set."""
    from train.lora.packing import pack

    groups: dict[Any, list] = {}
    for place, row in enumerate(rows):
        # A row without an image shares its prefix with nothing but other such rows, eight at a time.
        key = row.example.image if row.example.image is not None else ("text", place // 8)
        groups.setdefault(key if recipe.packed else place, []).append(row)
    return [
        made
        for mine in groups.values()
        for made in pack([(r.ids, r.labels) for r in mine], mine[0].example.image, image_token_id, recipe.cutoff)
    ]


def start_from(peft: Any, folders: Sequence[Path]) -> None:
    """Puts other runs' adapter, or the mean of several, into this one: runs that began with the same weights may be
    averaged (Wortsman et al. 2022, "Model soups"). Raises FaceLLMError where one does not fit."""
    from peft import set_peft_model_state_dict

    weights = [_put(peft, folder) for folder in folders]
    mean = {name: sum(one[name].float() for one in weights) / len(weights) for name in weights[0]}
    set_peft_model_state_dict(peft, mean)


def _put(peft: Any, folder: Path) -> dict[str, Any]:
    """Puts one adapter's weights into this one, and returns them by name."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    file = Path(folder) / "adapter_model.safetensors"
    if not file.is_file():
        raise FaceLLMError(f"{folder} holds no adapter_model.safetensors to start from; name an adapter folder.")
    try:
        loaded = set_peft_model_state_dict(peft, weights := load_file(file))
    except (RuntimeError, KeyError) as error:
        raise FaceLLMError(
            f"The adapter in {folder} is of another shape ({error}); use its rank and its base."
        ) from None
    if loaded.unexpected_keys:
        raise FaceLLMError(
            f"The adapter in {folder} is of another model: {loaded.unexpected_keys[0]} is not in this one."
        )
    return weights


def add_adapter(net: Any, recipe: Recipe) -> Any:
    """The PEFT model: LoRA on every linear layer of the decoder and on nothing else, which is asserted."""
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


def _out_of_memory(recipe: Recipe) -> str:
    tries = [f"--micro-tokens {max(recipe.micro_tokens // 2, 256)}"]
    if not recipe.gradient_checkpointing:
        tries.append("--gradient-checkpointing")
    if recipe.quantization == "none":
        tries.append("--quantization nf4")
    return f"Out of memory; try {', '.join(tries)}, or a smaller base. The run goes on from its last checkpoint."
