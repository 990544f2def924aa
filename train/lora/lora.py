"""`python -m train lora`: a LoRA adapter for an InternVL, or parts of it in full, from conversations about images.

Writes into --out::

    adapter/       adapter_model.safetensors, adapter_config.json, recipe.yaml, training.json (base, data digest,
                   figures), README.md; `facellm` opens it by path
    model/         in its place, where more than an adapter trains: a whole checkpoint
    metrics.jsonl  one line for each logged step and each evaluation;  loss.png;  samples.jsonl
    validation.jsonl  loss and rightness of every validation answer at the end
    features/      the images' vision features (unless cache_features is off or --features names a cache)
    checkpoints/   what a killed run goes on from; the same command goes on by itself
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
from train.lora.parts.parts import images_change, leaves_adapter
from train.lora.preparation import ALONE, DataOptions, prepare
from train.lora.recipe import Recipe, add_flags, from_flags, names
from train.lora.running.arguments import training_arguments
from train.lora.running.trackers import NAMES, check_trackers
from train.lora.running.upload import Upload
from train.outputs import usable_folder


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m train lora", description=__doc__.splitlines()[0])
    add_run_options(made)
    add_data_options(made)
    made.add_argument(
        "--start", type=Path, nargs="+", default=(), metavar="ADAPTER",
        help="adapter folder whose weights the run begins with; of several, their mean",
    )  # fmt: skip
    made.add_argument(
        "--start-shares", type=float, nargs="+", default=(), metavar="SHARE",
        help="how much each adapter of --start weighs in their mean (default: all the same)",
    )  # fmt: skip
    made.add_argument("--report-to", default="none", metavar="NAME", help=f"{', '.join(NAMES)}; several with commas")
    made.add_argument("--push-to-hub", metavar="OWNER/NAME", help="upload what was trained to the Hugging Face hub")
    made.add_argument("--hub-public", action="store_true", help="make a new repository public (default: private)")
    made.add_argument("--overwrite", action="store_true", help="begin anew where --out holds a run already")
    add_flags(made)
    return made


def add_data_options(made: argparse.ArgumentParser) -> None:
    """Adds what goes into a run beside its own set; `data_options` reads it."""
    made.add_argument("--val-data", type=Path, help="validation set, in place of validation rows of --data")
    made.add_argument("--mix", type=Path, metavar="SET", help="general set (with images or without) to mix rows of in")
    made.add_argument(
        "--mix-ratio", type=float, default=DataOptions.mix_ratio, help="general rows' share of all rows (default: 0.2)"
    )
    made.add_argument("--skip-bad", action="store_true", help="leave out rows that cannot be used, and list them")
    made.add_argument("--skip-long", action="store_true", help="leave out rows longer than the cutoff")


def data_options(args: argparse.Namespace) -> DataOptions:
    """Returns what `add_data_options` added."""
    return DataOptions(**{one.name: getattr(args, one.name) for one in dataclasses.fields(DataOptions)})


def add_run_options(made: argparse.ArgumentParser) -> None:
    """Adds what `lora` and `ablate` share: data, base, recipe, folders and device."""
    made.add_argument(
        "--data", type=Path, required=True, help="set of any common form: a folder, or a file (docs/training.md)"
    )
    made.add_argument(
        "--model", default="nano", help="base: a name (nano, 1b, 8b, ...), a folder, or a hub name, with @revision"
    )
    made.add_argument("--base-name", help="what to call the base in the adapter (default: its name on the hub)")
    made.add_argument("--out", type=Path, required=True, help="folder for adapters, checkpoints and figures")
    made.add_argument("--recipe", help=f"{', '.join(names())}, or the path of a .yaml file")
    made.add_argument("--features", type=Path, help="feature cache to use or to make (see train.lora.feature_cache)")
    made.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)
    figures = train(
        args.data, args.model, args.out, from_flags(args), base_name=args.base_name, features=args.features,
        options=data_options(args), overwrite=args.overwrite, start=args.start, device=args.device,
        start_shares=args.start_shares,
        report_to=args.report_to, upload=Upload(args.push_to_hub, args.hub_public) if args.push_to_hub else None,
    )  # fmt: skip
    if figures:
        print(json.dumps(figures))
    return 0


def train(
    data: Path, model: str, out: Path, recipe: Recipe, *, base_name: str | None = None, features: Path | None = None,
    options: DataOptions = ALONE, overwrite: bool = False, start: Sequence[Path] = (),
    device: str | None = None, report_to: str = "none", upload: Upload | None = None,
    start_shares: Sequence[float] = (),
) -> dict[str, Any]:  # fmt: skip
    """Trains one adapter or model, or goes on with one.

    Args:
        data: The training set (see `train.lora.conversations`).
        model: The base: a name of the registry, a folder or a hub name.
        out: The folder to write into.
        recipe: All settings.
        base_name: What the adapter calls its base (None: its name on the hub).
        features: A feature cache to use or to make.
        options: What goes in beside the set, and whether bad rows are left out.
        overwrite: Whether to begin anew where `out` holds a run.
        start: Adapter folders whose mean the run begins with.
        device: "cpu" or "cuda".
        report_to: Trackers, with commas between, or "none".
        upload: Where on the hub the result goes.
        start_shares: How much each adapter of `start` weighs (none: all the same).

    Returns:
        The run's figures; empty on all but the first of several processes.

    Raises:
        FaceLLMError: For bad data, a checkpoint of another run, or too little memory.
    """
    from transformers import PrinterCallback, set_seed
    from transformers.utils import logging

    from train.lora import artifacts
    from train.lora.base_model import base_folder, identify, open_base, start_from
    from train.lora.checkpoints import MarkComplete, resume_point
    from train.lora.conversations import check_lengths, tokenize
    from train.lora.feature_cache import FeatureCache
    from train.lora.packed_attention import use_packed_attention
    from train.lora.packs import pack_rows
    from train.lora.parts.adapters import keep_initial, make_trainable
    from train.lora.parts.whole import restore
    from train.lora.trainer import FaceTrainer, StepPlan

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)  # PEFT's call
    warnings.filterwarnings("ignore", "(PiSSA|OLoRA) changes the base weights", UserWarning)  # stored as a difference
    out = usable_folder(Path(out))
    trackers = check_trackers(report_to, out)
    arguments = training_arguments(out, recipe, device, trackers, images_change(recipe))
    first = arguments.process_index == 0
    folder = base_folder(model)
    base = identify(model, folder)
    if base_name:
        base = dataclasses.replace(base, name=base_name)
    if images_change(recipe) and features is not None:
        raise FaceLLMError(f"--features holds what an image was to the untrained {recipe.train}; leave it out.")
    cache = None if images_change(recipe) else features or _beside(Path(data), out)
    known = FeatureCache(cache).rows if cache and (cache / "index.json").is_file() else ()
    if upload is not None and first:
        upload.prepare()
    dataset = prepare(Path(data), out, options, recipe.seed, known, first).with_system(recipe.system_prompt)
    run = {"base": base.to_dict(), "data": dataset.digest, "recipe": dataclasses.asdict(recipe)}
    if start:
        run["start"] = " ".join([*(Path(one).name for one in start), *map(str, start_shares)])
    with arguments.main_process_first(local=False, desc="preparing the run's folder"):
        checkpoint = resume_point(out, run, overwrite, first)

    # A sharded model is read into main memory; accelerate then puts each process's part onto its GPU.
    shared = os.environ.get("ACCELERATE_USE_FSDP") == "true"
    where = "cpu" if shared else str(arguments.device)
    net, processor = open_base(folder, recipe.precision, recipe.quantization, where, shared)
    images = _image_reader(cache, net, processor, dataset, recipe, arguments)
    token = net.config.image_token_id
    train_packs, val_packs = (
        pack_rows(
            check_lengths(tokenize(processor, rows), recipe.cutoff, options.skip_long),
            token,
            recipe.cutoff,
            recipe.packed,
        )
        for rows in (dataset.train, dataset.val)
    )
    val_packs = val_packs[: recipe.val_images or None]
    plan = StepPlan(
        train_packs, recipe.batch, recipe.micro_tokens, recipe.seed, arguments.world_size, arguments.process_index
    )
    arguments.gradient_accumulation_steps = plan.accumulate
    set_seed(recipe.seed)  # every process draws the same initial weights
    model = make_trainable(net, recipe)
    initial = keep_initial(model, recipe, out / "checkpoints" / "initial")
    if start:
        if initial or not leaves_adapter(recipe):
            raise FaceLLMError("--start begins with another adapter's weights; leave out --init and train the adapter.")
        start_from(model, start, start_shares)
    if checkpoint and model is net:
        restore(net, checkpoint)
    if recipe.gradient_checkpointing:
        enable = getattr(net, "activation_checkpointing_enable", None) or net.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    if recipe.packed:
        use_packed_attention(model)
    log = artifacts.Log(out, plan, first)
    trainer = FaceTrainer(
        model, arguments, train_packs, val_packs, plan, images, recipe.micro_tokens, recipe.packed, recipe.weighting,
        recipe.loraplus_ratio,
        callbacks=[MarkComplete(run), log, *artifacts.samples(out, recipe, dataset, processor, images, first)],
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)  # `Log` prints
    log.trainer = trainer
    if first:
        print(
            artifacts.summary(recipe, base, dataset, train_packs, val_packs, plan, model, checkpoint), file=sys.stderr
        )
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        final = trainer.last_evaluation or trainer.evaluate()
        figures = log.figures(final) if first else {}
        if first:
            artifacts.write_answers(out, trainer.measured)
        _save(trainer, recipe, out, folder, initial)
        if not first:
            return {}
        done = artifacts.finish(out, recipe, base, dataset, figures, start, start_shares)
    except (MemoryError, RuntimeError) as error:
        if out_of_memory(error):
            raise FaceLLMError(_out_of_memory(recipe)) from None
        raise
    except OSError as error:
        raise FaceLLMError(
            f"{out} cannot be written into any more ({error.strerror or error}); free some space there, and the same "
            "command goes on from the last checkpoint."
        ) from None
    if upload is not None:
        print(f"uploaded: {upload.push(done)}", file=sys.stderr)
    return figures


def _save(trainer: Any, recipe: Recipe, out: Path, base: Path, initial: Path | None) -> None:
    """Writes what was trained into adapter.part or model.part; every process must call it, the first one writes."""
    from train.lora.checkpoints import ADAPTER, MODEL
    from train.lora.parts.whole import rebuilt, write_model

    adapter, whole, saved = out / f"{ADAPTER}.part", out / f"{MODEL}.part", out / f"{MODEL}.saved"
    first = trainer.args.process_index == 0
    if initial is not None and leaves_adapter(recipe):
        if first:
            trainer.model.save_pretrained(adapter, path_initial_model_for_weight_conversion=str(initial))
            shutil.rmtree(adapter / "initial", ignore_errors=True)
    elif leaves_adapter(recipe):
        trainer.save_model(str(adapter))
    elif hasattr(trainer.model, "merge_and_unload"):
        if first:
            merged = trainer.model.merge_and_unload()
            merged.set_attn_implementation("sdpa")
            write_model(merged, base, whole)
    else:
        trainer.save_model(str(saved))  # gathers the shares of all processes
        if first:
            write_model(rebuilt(saved), base, whole)
            shutil.rmtree(saved)


def _beside(data: Path, out: Path) -> Path:
    """The feature cache beside a set, where there is one; else the run's own."""
    beside = (data.parent if data.is_file() else data) / "features"
    return beside if (beside / "index.json").is_file() else out / "features"


def _image_reader(folder: Path | None, net: Any, processor: Any, data: Any, recipe: Recipe, arguments: Any) -> Any:
    """How a batch gets its images: rows of the feature cache in `folder`, or pixels (None: always)."""
    from facellm.weights.fingerprint import encoder_digest
    from train.lora.feature_cache import FeatureCache, cache_images, pixels

    there = folder is not None and (folder / "index.json").is_file()
    given = FeatureCache(folder, encoder_digest(net, processor)) if there else None
    paths = {image: data.source(image) for image in data.images()}
    if folder is None or (not recipe.cache_features and given is None):
        return lambda images: {"pixel_values": pixels(processor, [paths[image] for image in images])}

    def progress(done: int, of: int) -> None:
        print(f"\rencoding images: {done}/{of}", end="\n" if done == of else "", file=sys.stderr)

    with arguments.main_process_first(local=False, desc="encoding images"):
        cache, rows = cache_images(folder, net, processor, paths, progress=progress)
    return lambda images: {"image_features": cache.read([rows[image] for image in images])}


def _out_of_memory(recipe: Recipe) -> str:
    tries = [f"--micro-tokens {max(recipe.micro_tokens // 2, 256)}"]
    if not recipe.gradient_checkpointing:
        tries.append("--gradient-checkpointing")
    if recipe.quantization == "none":
        tries.append("--quantization nf4")
    return f"Out of memory; try {', '.join(tries)}, or a smaller base. The run goes on from its last checkpoint."
