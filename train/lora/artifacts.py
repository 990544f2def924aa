"""What a LoRA run leaves behind besides weights: log lines, metrics, loss plot, sample answers, the adapter's folder.

Input: the Trainer's events. What this file does not know: how a loss is computed.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.modeling_outputs import BaseModelOutputWithPooling

from train.lora.base_model import COMPLETE, TRAINING, BaseId
from train.lora.conversations import DataSet, tokenize
from train.lora.recipe import Recipe, dump

LOGGED = (
    "loss", "grad_norm", "learning_rate",
    "eval_loss", "eval_token_accuracy", "eval_short_accuracy", "eval_short_answers",
)  # fmt: skip


class Log(TrainerCallback):
    """metrics.jsonl, a line on the terminal and loss.png. `trainer` is set once it exists."""

    def __init__(self, out: Path, plan: Any, first: bool):
        self.path, self.plan, self.first, self.trainer = out / "metrics.jsonl", plan, first, None
        self.began, self.tokens = 0.0, 0
        self.start_step = 0

    def on_train_begin(self, args, state, control, **kwargs):
        self.began, self.start_step = time.monotonic(), state.global_step
        if self.first and self.path.is_file():
            # Lines that the killed run wrote after its last checkpoint are about to be written again.
            kept = [line for line in read_metrics(self.path) if line["step"] <= state.global_step]
            write_lines(self.path, kept)

    def on_step_end(self, args, state, control, **kwargs):
        # A line is a mean since the last line; ending it at every checkpoint makes a resumed run's lines equal.
        if control.should_save:
            control.should_log = True

    def on_log(self, args, state, control, logs=None, **kwargs):
        if not self.first or "train_runtime" in (logs or {}):
            return
        seconds = time.monotonic() - self.began
        entry = {"step": state.global_step, "epoch": round(state.epoch or 0.0, 4)}
        entry |= {k: v for k, v in logs.items() if k in LOGGED}
        entry |= {
            "seconds": round(seconds, 1),
            "tokens_per_second": round(self.trainer.tokens_seen / max(seconds, 1e-9)),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        done = state.global_step - self.start_step
        left = seconds / done * (state.max_steps - state.global_step) if done else float("nan")
        shown = (
            f"loss {logs['loss']:.4f}"
            if "loss" in logs
            else f"validation loss {logs.get('eval_loss', float('nan')):.4f}"
        )
        print(
            f"step {state.global_step}/{state.max_steps}  {shown}  {entry['tokens_per_second']} tokens/s  "
            f"{left / 60:.1f} min left",
            file=sys.stderr,
        )

    def on_evaluate(self, args, state, control, **kwargs):
        if self.first:
            plot(self.path)

    def figures(self, final: dict[str, float]) -> dict[str, Any]:
        lines = read_metrics(self.path) if self.path.is_file() else []
        losses = [line["loss"] for line in lines if "loss" in line]
        return {
            "steps": self.trainer.state.global_step,
            "pairs_per_step": round(self.plan.batch, 2),
            "train_loss": losses[-1] if losses else None,
            "val_loss": final.get("eval_loss"),
            "val_token_accuracy": final.get("eval_token_accuracy"),
            "val_short_accuracy": final.get("eval_short_accuracy"),
            "val_short_answers": final.get("eval_short_answers"),
            "trainable": self.trainer.model.get_nb_trainable_parameters()[0],
            "seconds": round(time.monotonic() - self.began, 1),
            "tokens_per_second": lines[-1]["tokens_per_second"] if lines else None,
        }


def read_metrics(path: Path) -> list[dict]:
    """Every whole line; a line that a kill cut short is left out."""
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines


def write_lines(path: Path, lines: list[dict]) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text("".join(json.dumps(line) + "\n" for line in lines))
    part.replace(path)


def plot(metrics: Path) -> None:
    """loss.png beside the metrics: training and validation loss against steps."""
    from matplotlib.figure import Figure

    lines = read_metrics(metrics)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for key, label in (("loss", "training"), ("eval_loss", "validation")):
        points = [(line["step"], line[key]) for line in lines if key in line]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, marker="o" if key == "eval_loss" else None)
    axes.set(xlabel="optimiser step", ylabel="loss a token (nats)")
    axes.legend()
    figure.savefig(metrics.with_name("loss.png"), dpi=120)


class Marks(TrainerCallback):
    """Marks a checkpoint as whole once everything in it is written, with the run that it belongs to."""

    def __init__(self, run: dict):
        self.run = run

    def on_save(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            part = folder / f"{COMPLETE}.part"
            part.write_text(json.dumps(self.run))
            part.replace(folder / COMPLETE)


class Samples(TrainerCallback):
    """Greedy answers to a few validation questions at each evaluation, appended to samples.jsonl."""

    def __init__(self, path: Path, rows: list, recipe: Recipe, processor: Any, images: Any):
        self.path, self.rows, self.recipe, self.processor, self.images = path, rows, recipe, processor, images

    def on_evaluate(self, args, state, control, model=None, **kwargs):
        training = model.training
        model.eval()
        entries = []
        for row in self.rows:
            entries.append({"step": state.global_step, **answer(model, self.processor, row, self.images, self.recipe)})
        model.train(training)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in entries)


def answer(model: Any, processor: Any, row: Any, images: Any, recipe: Recipe) -> dict[str, Any]:
    """The model's greedy answer to a conversation's first question, beside the one in the data."""
    device = next(model.parameters()).device
    asked = next(place for place, label in enumerate(row.labels) if label != -100)
    ids = torch.tensor([row.ids[:asked]], device=device)
    given = images([row.example.image]) if row.example.image is not None else {}
    given = {name: value.to(device) for name, value in given.items()}
    if "image_features" in given:
        given = {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=given["image_features"])}}
    enabled = recipe.precision == "bf16"
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=enabled):
        made = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=recipe.sample_tokens,
            do_sample=False, eos_token_id=row.ids[_end(row)], pad_token_id=0, **given,
        )  # fmt: skip
    text = processor.tokenizer.decode(made[0, asked:], skip_special_tokens=True).strip()
    question, wanted = row.example.turns[0]
    return {"image": row.example.image, "question": question, "answer": text, "data": wanted}


def _end(row: Any) -> int:
    """Place of the end-of-turn mark after the first answer."""
    learnt = [place for place, label in enumerate(row.labels) if label != -100]
    return next(p for p in learnt if p + 1 not in set(learnt))


def samples(out: Path, recipe: Recipe, data: DataSet, processor: Any, images: Any, first: bool) -> list[Samples]:
    import os

    # A sharded model's generate needs every process; samples are for single-device and data-parallel runs.
    sharded = os.environ.get("ACCELERATE_USE_FSDP") == "true" or os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true"
    rows = data.val or data.train
    if not first or sharded or not recipe.samples:
        return []
    chosen = [rows[place * len(rows) // recipe.samples] for place in range(min(recipe.samples, len(rows)))]
    return [Samples(out / "samples.jsonl", tokenize(processor, chosen), recipe, processor, images)]


def summary(
    recipe: Recipe, base: BaseId, data: DataSet, train: list, val: list, plan: Any, model: Any, checkpoint: Path | None
) -> str:
    trains, total = model.get_nb_trainable_parameters()
    tokens = sum(len(p) for p in train)
    begin = f"going on from {checkpoint.name}" if checkpoint else "from the start"
    return (
        f"{base.name}: {trains:,} of {total:,} parameters train (rank {recipe.rank}); {len(data.train):,} "
        f"conversations in {len(train):,} {'packs' if recipe.packed else 'rows'}, {tokens:,} tokens; {len(val):,} for "
        f"validation; {plan.steps} steps an epoch of {plan.batch:.1f} pairs, {plan.accumulate} micro-batches each; "
        f"{begin}"
    )


CARD = """---
library_name: peft
base_model: {base}
pipeline_tag: image-text-to-text
tags: [face, lora, internvl]
---
# A FaceLLM adapter

LoRA (rank {rank}, alpha {alpha}) on every linear layer of the decoder of `{base}`; encoder, projector and head are the
base's own. Open it with `python -m facellm describe IMAGE --model {base} --adapter PATH`, or with PEFT.

| | |
| --- | --- |
| base | `{base}`{revision} |
| training set | {pairs:,} conversations about {images:,} images, SHA-256 `{data}` |
| steps | {steps} of {pairs_per_step} conversations |
| training loss | {train_loss} nats a token at the end |
| validation loss | {val_loss} nats a token |
| validation, next token right | {val_token_accuracy} |
| validation, short answers right | {val_short_accuracy} of {val_short_answers} |
| time | {seconds} s |
| date | {date} |

All settings are in `recipe.yaml`, all figures in `training.json`. The adapter says what its training data taught it to
say about faces; it does not identify people, and descriptions of sensitive traits can be wrong.
"""


def finish(out: Path, recipe: Recipe, base: BaseId, data: DataSet, figures: dict, model: Any) -> None:
    """Completes adapter.part and renames it to adapter: an adapter/ folder is always whole."""
    part = out / "adapter.part"
    for name in ("training_args.bin", "README.md"):
        (part / name).unlink(missing_ok=True)  # the Trainer's pickle of its arguments is of no use and names paths
    config = json.loads((part / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = base.name
    (part / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    (part / "recipe.yaml").write_text(dump(recipe))
    known = {
        "base": base.to_dict(),
        "data": {
            "digest": data.digest,
            "train": len(data.train),
            "val": len(data.val),
            "images": len(data.images()),
        },
        "recipe": dataclasses.asdict(recipe),
        "figures": figures,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
    }
    (part / TRAINING).write_text(json.dumps(known, indent=1) + "\n")
    revision = f" at `{base.revision}`" if base.revision else ""
    shown = {k: "not measured" if v is None else round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}
    card = CARD.format(
        base=base.name, revision=revision, rank=recipe.rank, alpha=recipe.alpha, pairs=len(data.train),
        images=len(data.images()), data=data.digest[:16], date=known["date"], **shown,
    )  # fmt: skip
    (part / "README.md").write_text(card)
    shutil.rmtree(out / "adapter", ignore_errors=True)
    part.rename(out / "adapter")
