"""What a LoRA run leaves behind besides weights: metrics, loss plot, sample answers, the adapter's folder."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import TrainerCallback
from transformers.modeling_outputs import BaseModelOutputWithPooling

from facellm.storage.files import write_json, write_text
from facellm.weights.fingerprint import weights_digest
from train.lora.base_model import DTYPES, TRAINING, BaseId, local_name
from train.lora.checkpoints import ADAPTER, MODEL
from train.lora.conversations import IGNORE, DataSet, Tokens, tokenize
from train.lora.parts.parts import counts, leaves_adapter, told
from train.lora.recipe import Recipe, dump
from train.lora.running.arguments import sharded
from train.reports.pages import render
from train.reports.plots import figure, save_png

LOGGED = (
    "loss", "grad_norm", "learning_rate",
    "eval_loss", "eval_token_accuracy", "eval_short_accuracy", "eval_short_answers",
)  # fmt: skip


class Log(TrainerCallback):
    """metrics.jsonl, loss.png, and a bar on a terminal or else a line a logged step. `trainer` is set later."""

    def __init__(self, out: Path, plan: Any, first: bool):
        self.path, self.plan, self.first, self.trainer = out / "metrics.jsonl", plan, first, None
        self.began, self.tokens = 0.0, 0
        self.start_step = 0

    def on_train_begin(self, args, state, control, **kwargs):
        self.began, self.start_step = time.monotonic(), state.global_step
        self.bar = tqdm(
            total=state.max_steps, initial=state.global_step, unit="step", file=sys.stderr,
            disable=not (self.first and sys.stderr.isatty()),
        )  # fmt: skip
        if self.first and self.path.is_file():
            # Lines that the killed run wrote after its last checkpoint are about to be written again.
            kept = [line for line in read_metrics(self.path) if line["step"] <= state.global_step]
            write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def on_step_end(self, args, state, control, **kwargs):
        # A line is a mean since the last line; ending it at every checkpoint makes a resumed run's lines equal.
        if control.should_save:
            control.should_log = True
        self.bar.update()

    def on_log(self, args, state, control, logs=None, **kwargs):
        if not self.first or "train_runtime" in (logs or {}):
            return
        seconds = time.monotonic() - self.began
        speed = round(self.trainer.tokens_seen / max(seconds, 1e-9))
        entry = {"step": state.global_step, "epoch": round(state.epoch or 0.0, 4)}
        entry |= {k: v for k, v in logs.items() if k in LOGGED}
        entry |= {"seconds": round(seconds, 1), "tokens_per_second": speed}
        _append(self.path, [entry])
        done = state.global_step - self.start_step
        left = seconds / done * (state.max_steps - state.global_step) if done else float("nan")
        name, loss = ("loss", logs["loss"]) if "loss" in logs else ("validation loss", logs.get("eval_loss", math.nan))
        if not self.bar.disable:
            self.bar.set_postfix_str(f"{name} {loss:.4f}, {speed} tokens/s")
            return
        print(
            f"step {state.global_step}/{state.max_steps}  {name} {loss:.4f}  {speed} tokens/s  "
            f"{left / 60:.1f} min left",
            file=sys.stderr,
        )

    def on_evaluate(self, args, state, control, **kwargs):
        if self.first:
            plot(self.path)

    def on_train_end(self, args, state, control, **kwargs):
        self.bar.close()

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
            "trainable": sum(trains for trains, _ in counts(self.trainer.model).values()),
            "seconds": round(time.monotonic() - self.began, 1),
            "tokens_per_second": lines[-1]["tokens_per_second"] if lines else None,
        }


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Returns every whole line; one that a kill cut short is left out."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(json.JSONDecodeError):
            lines.append(json.loads(line))
    return lines


def write_answers(out: Path, answers: Sequence[dict[str, Any]]) -> None:
    """Writes validation.jsonl: what the trained model makes of every validation answer, in the order of the set."""
    write_text(out / "validation.jsonl", "".join(json.dumps(one) + "\n" for one in answers))


def _append(path: Path, entries: Sequence[dict[str, Any]]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in entries)


def plot(metrics: Path) -> None:
    """Draws loss.png beside the metrics: training and validation loss against steps."""
    lines = read_metrics(metrics)
    drawing, axes = figure(7, 4)
    for key, label in (("loss", "training"), ("eval_loss", "validation")):
        points = [(line["step"], line[key]) for line in lines if key in line]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, marker="o" if key == "eval_loss" else None)
    axes.set(xlabel="optimiser step", ylabel="loss a token (nats)")
    axes.legend()
    save_png(drawing, metrics.with_name("loss.png"))


class Samples(TrainerCallback):
    """Greedy answers to a few validation questions at each evaluation, appended to samples.jsonl."""

    def __init__(self, path: Path, rows: list, recipe: Recipe, processor: Any, images: Any):
        self.path, self.rows, self.recipe, self.processor, self.images = path, rows, recipe, processor, images

    def on_evaluate(self, args, state, control, model=None, **kwargs):
        training = model.training
        model.eval()
        answers = [answer(model, self.processor, row, self.images, self.recipe) for row in self.rows]
        model.train(training)
        _append(self.path, [{"step": state.global_step, **one} for one in answers])


def answer(model: Any, processor: Any, row: Tokens, images: Any, recipe: Recipe) -> dict[str, Any]:
    """Returns the model's greedy answer to a conversation's first question, beside the one in the data."""
    device = next(model.parameters()).device
    asked = next(place for place, label in enumerate(row.labels) if label != IGNORE)
    ends = next((p for p in range(asked, len(row.labels)) if row.labels[p] == IGNORE), len(row.labels))
    ids = torch.tensor([row.ids[:asked]], device=device)
    given = images([row.example.image]) if row.example.image is not None else {}
    given = {name: value.to(device) for name, value in given.items()}
    if "image_features" in given:
        given = {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=given["image_features"])}}
    dtype = getattr(torch, DTYPES[recipe.precision])
    enabled = dtype != torch.float32
    with torch.inference_mode(), torch.autocast(device.type, dtype if enabled else None, enabled=enabled):
        made = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=recipe.sample_tokens,
            do_sample=False, eos_token_id=row.ids[ends - 1], pad_token_id=0, **given,
        )  # fmt: skip
    text = processor.tokenizer.decode(made[0, asked:], skip_special_tokens=True).strip()
    question, wanted = row.example.turns[0]
    return {"image": row.example.image, "question": question, "answer": text, "data": wanted}


def samples(out: Path, recipe: Recipe, data: DataSet, processor: Any, images: Any, first: bool) -> list[Samples]:
    """Returns the callback that writes sample answers; none in processes that must not or cannot generate."""
    # A sharded model's generate needs every process; samples are for single-device and data-parallel runs.
    rows = data.val or data.train
    if not first or sharded() or not recipe.samples:
        return []
    chosen = [rows[place * len(rows) // recipe.samples] for place in range(min(recipe.samples, len(rows)))]
    return [Samples(out / "samples.jsonl", tokenize(processor, chosen), recipe, processor, images)]


def summary(
    recipe: Recipe, base: BaseId, data: DataSet, train: list, val: list, plan: Any, model: Any, checkpoint: Path | None
) -> str:
    """Returns a sentence on what is about to be trained."""
    tokens = sum(len(p) for p in train)
    begin = f"going on from {checkpoint.name}" if checkpoint else "from the start"
    what = "packs" if recipe.packed else "rows"
    return (
        f"{base.name}: {told(counts(model))}; {len(data.train):,} conversations in {len(train):,} {what}, "
        f"{tokens:,} tokens; {len(val):,} for validation; {plan.steps} steps an epoch of {plan.batch:.1f} pairs, "
        f"{plan.accumulate} micro-batches each; {begin}"
    )


def finish(
    out: Path, recipe: Recipe, base: BaseId, data: DataSet, figures: dict[str, Any], begun: Sequence[Path] = (),
    shares: Sequence[float] = (),
) -> Path:  # fmt: skip
    """Completes what a run saved and renames it: an adapter/ or model/ folder is always whole.

    Args:
        out: The run's folder, in which adapter.part or model.part holds the weights.
        recipe: All settings.
        base: What it was made of; an adapter's `base_model_name_or_path` names it.
        data: What it was trained on.
        figures: What the run measured.
        begun: Adapters whose mean the run began with.
        shares: How much each of them weighed (none: all the same).

    Returns:
        The finished folder.
    """
    name = ADAPTER if leaves_adapter(recipe) else MODEL
    part = out / f"{name}.part"
    for left in ("training_args.bin", "README.md"):
        (part / left).unlink(missing_ok=True)  # the Trainer's pickle of its arguments is of no use and names paths
    if name == ADAPTER:
        config = json.loads((part / "adapter_config.json").read_text(encoding="utf-8"))
        write_json(part / "adapter_config.json", {**config, "base_model_name_or_path": base.name})
    write_text(part / "recipe.yaml", dump(recipe))
    known = {
        "base": base.to_dict(),
        "weights": weights_digest(part),
        "start": [
            {"name": one.name, "weights": weights_digest(one), "share": share}
            for one, share in zip(begun, shares or [1.0] * len(begun), strict=True)
        ],
        "data": {
            "digest": data.digest, "train": len(data.train), "val": len(data.val), "images": len(data.images()),
        },
        "recipe": dataclasses.asdict(recipe), "figures": figures,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
    }  # fmt: skip
    write_json(part / TRAINING, known)
    write_text(part / "README.md", render("adapter.md.jinja", open_as=local_name(base.name), **known))
    shutil.rmtree(out / name, ignore_errors=True)
    return part.rename(out / name)
