"""B6: one LoRA step for each question-answer pair, packed (train/lora/packing.py) against plain.

Plain is what the published scripts do: every pair is a sequence of its own with its own image, padded to the longest of
its batch; pairs of similar length share a batch. Both sides run encoder, decoder, backward pass and optimiser over the
same pairs, and from the same weights their losses must be equal. What this file does not know: what the pairs say
(.pairs), recipes.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests import tiny
from tests.bench import pairs
from tests.bench.models import LORA, Subject
from tests.bench.timing import Result, in_model_thread, race, result
from tests.paths import ROOT
from train.lora.conversations import IGNORE
from train.lora.packed_attention import answer_loss, collate, packed_forward, use_packed_attention
from train.lora.packs import pack
from train.lora.trainer import collate_plain

IMAGES = 2  # in a micro-batch
PLAIN_ROWS = 16  # in a batch of the plain way
PAIRS = {"attributes": pairs.attributes, "taught": pairs.taught}
WHAT = {"attributes": "eight attributes an image", "taught": "nano's own training pairs"}


class Steps:
    """A model in training with its LoRA, its optimiser, and a micro-batch in both forms."""

    def __init__(self, model: Any, processor: Any, kind: str, images: int = IMAGES):
        self.model = model
        base = model.get_base_model()
        self.device = base.lm_head.weight.device
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-5)
        rows = [PAIRS[kind](processor, n) for n in range(images)]
        token = base.config.image_token_id
        self.packs = [p for n, row in enumerate(rows) for p in pack(row, n, token)]
        self.pairs = sorted((p for n, row in enumerate(rows) for one in row for p in pack([one], n, token)), key=len)
        self.answers = sum((p.labels[1:] != IGNORE).sum() for p in self.pairs)  # tokens
        pixels = torch.cat([processor.pixels(tiny.picture(n, 224)) for n in range(images)])
        self.pixels = pixels.to(self.device, base.model.multi_modal_projector.linear_1.weight.dtype)
        self.tokens = {}

    @classmethod
    def opened(cls, folder: str, kind: str) -> Steps:
        """A checkpoint in float32 with a new LoRA of the paper's size."""
        from peft import LoraConfig, get_peft_model
        from transformers import InternVLForConditionalGeneration

        from facellm.weights.processor import FaceProcessor

        torch.manual_seed(0)
        processor = FaceProcessor.from_pretrained(folder)
        base = InternVLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
        model = get_peft_model(base, LoraConfig(r=16, lora_alpha=32, target_modules=LORA)).train()
        return cls(model, processor, kind)

    def _here(self, batch: dict) -> dict:
        return {name: v.to(self.device) if isinstance(v, torch.Tensor) else v for name, v in batch.items()}

    def _features(self, images: list[int]) -> torch.Tensor:
        with torch.no_grad():  # frozen
            inner = self.model.get_base_model().model
            return inner.get_image_features(self.pixels[images], return_dict=True).pooler_output

    def packed_loss(self, learn: bool) -> float:
        """Every image is encoded once."""
        use_packed_attention(self.model)
        batch = self._here(collate(self.packs))
        self.tokens["packed"] = batch["input_ids"].numel()
        loss = answer_loss(*packed_forward(self.model, batch, self._features(batch["images"])))
        if learn:
            loss.backward()
        return loss.item()

    def plain_loss(self, learn: bool) -> float:
        """Every pair brings its image."""
        self.model.get_base_model().set_attn_implementation({"text_config": "sdpa"})
        total, self.tokens["plain"] = 0.0, 0
        for start in range(0, len(self.pairs), PLAIN_ROWS):
            batch = self._here(collate_plain(self.pairs[start : start + PLAIN_ROWS]))
            self.tokens["plain"] += batch["input_ids"].numel()
            out = self.model(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                pixel_values=self.pixels[batch["images"]],
                use_cache=False,
            )
            targets = batch["labels"][:, 1:].flatten()
            logits = out.logits[:, :-1].flatten(0, 1)[targets != IGNORE]
            loss = answer_loss(logits, targets[targets != IGNORE], tokens=int(self.answers))
            if learn:
                loss.backward()
            total += loss.item()
        return total

    def packed(self) -> None:
        self.packed_loss(learn=True)
        self._update()

    def plain(self) -> None:
        self.plain_loss(learn=True)
        self._update()

    def _update(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()


def lora_step(subject: Subject, tokens: int, repeats: int) -> list[Result]:
    return in_model_thread(lambda: [one for kind in PAIRS for one in _lora_step(subject, kind, repeats)])


def _lora_step(subject: Subject, kind: str, repeats: int) -> list[Result]:
    steps = Steps.opened(subject.folders["base"], kind)
    count = len(steps.pairs)
    with torch.no_grad():
        losses = steps.packed_loss(learn=False), steps.plain_loss(learn=False)
    if abs(losses[0] - losses[1]) > 1e-3:
        raise SystemExit(f"packed and plain steps disagree: {losses}")
    steps.packed(), steps.plain()  # the optimiser's state is there from now on
    times = [(a / count, b / count) for a, b in race(steps.packed, steps.plain, repeats)]
    ours, other = f"LoRA step for each pair, {WHAT[kind]}, packed", "plain: every pair alone with its image"
    found = [result("B6", subject.name, ours, other, times, target="≥ 2.5")]
    found[0].notes = {"pairs a step": count, **{f"tokens {k}": v for k, v in steps.tokens.items()}}
    found[0].notes["losses"] = [round(loss, 4) for loss in losses]
    del steps
    gc.collect()
    memory = [(_memory(subject, kind, "packed"), _memory(subject, kind, "plain"))]
    found.append(result("B6", subject.name, f"memory of a step, {WHAT[kind]}, packed", "plain", memory, unit="MiB"))
    return found


def _memory(subject: Subject, kind: str, way: str) -> float:
    command = [sys.executable, "-m", "tests.bench.training", way, kind, subject.folders["base"]]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """`python -m tests.bench.training packed|plain attributes|taught FOLDER`: MiB of two steps."""
    from tests.bench.memory import status

    way, kind, folder = sys.argv[1:]
    steps = Steps.opened(folder, kind)
    work: Callable[[], None] = getattr(steps, way)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    work(), work()
    print(json.dumps(round(status("VmHWM") - before, 1)))


if __name__ == "__main__":
    main()
