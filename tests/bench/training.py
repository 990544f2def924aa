"""B6: one LoRA step for each question-answer pair, packed (train/adapters/packing.py) against plain.

Plain is what the published scripts do: every pair is a sequence of its own with its own image, padded to the longest of
its batch. Both sides run encoder, decoder, backward pass and optimiser over the same pairs, and from the same weights
their losses must be equal. Answers are random tokens of GPT-4o's usual lengths. What this file does not know: recipes.
"""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from facellm.attributes import ATTRIBUTES
from facellm.messages import build_messages, expand_image, render
from tests import tiny
from train.adapters.packing import IGNORE, answer_loss, collate, pack, packed_forward, use_packed_attention
from train.adapters.trainer import collate_plain

from .models import LORA, Subject
from .timing import Result, in_model_thread, race, result

ROOT = Path(__file__).parents[2]
IMAGES = 2  # in a micro-batch, with eight pairs each
ANSWER_TOKENS = (60, 120)


def conversations(processor: Any, seed: int) -> list[tuple[list[int], list[int]]]:
    """Token ids and labels of one image's eight pairs."""
    dice, tokenizer = random.Random(seed), processor.tokenizer
    words = range(len(tokenizer.all_special_ids), 400)
    found = []
    for attribute in ATTRIBUTES:
        text = expand_image(processor, render(processor, build_messages(attribute.question)))
        prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
        answer = [dice.choice(words) for _ in range(dice.randint(*ANSWER_TOKENS))] + [tokenizer.eos_token_id]
        found.append((prompt + answer, [IGNORE] * len(prompt) + answer))
    return found


class Steps:
    """A model with a new LoRA of the paper's size, its optimiser, and a micro-batch in both forms."""

    def __init__(self, folder: str, images: int = IMAGES):
        from peft import LoraConfig, get_peft_model
        from transformers import InternVLForConditionalGeneration

        from facellm.processor import FaceProcessor

        torch.manual_seed(0)
        processor = FaceProcessor.from_pretrained(folder)
        base = InternVLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
        self.model = get_peft_model(base, LoraConfig(r=16, lora_alpha=32, target_modules=LORA)).train()
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-5)
        rows = [conversations(processor, n) for n in range(images)]
        token = base.config.image_token_id
        self.packs = [p for n, row in enumerate(rows) for p in pack(row, n, token)]
        self.pairs = [p for n, row in enumerate(rows) for one in row for p in pack([one], n, token)]
        self.pixels = torch.cat([processor.pixels(tiny.picture(n, 224)) for n in range(images)])
        self.tokens = {}

    def _features(self, images: list[int]) -> torch.Tensor:
        with torch.no_grad():  # frozen
            inner = self.model.get_base_model().model
            return inner.get_image_features(self.pixels[images], return_dict=True).pooler_output

    def _step(self, loss: torch.Tensor) -> float:
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    def packed_loss(self) -> torch.Tensor:
        """Every image is encoded once."""
        use_packed_attention(self.model)
        batch = collate(self.packs)
        self.tokens["packed"] = batch["input_ids"].numel()
        logits, targets = packed_forward(self.model, batch, self._features(batch["images"]))
        return answer_loss(logits, targets)

    def plain_loss(self) -> torch.Tensor:
        """Every pair brings its image."""
        self.model.get_base_model().set_attn_implementation({"text_config": "sdpa"})
        batch = collate_plain(self.pairs)
        self.tokens["plain"] = batch["input_ids"].numel()
        out = self.model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            pixel_values=self.pixels[batch["images"]],
            use_cache=False,
        )
        targets = batch["labels"][:, 1:].flatten()
        logits = out.logits[:, :-1].flatten(0, 1)[targets != IGNORE]
        return answer_loss(logits, targets[targets != IGNORE])

    def packed(self) -> float:
        return self._step(self.packed_loss())

    def plain(self) -> float:
        return self._step(self.plain_loss())


def lora_step(subject: Subject, tokens: int, repeats: int) -> list[Result]:
    return in_model_thread(partial(_lora_step, subject, repeats))


def _lora_step(subject: Subject, repeats: int) -> list[Result]:
    steps = Steps(subject.folders["base"])
    pairs = len(steps.pairs)
    with torch.no_grad():
        losses = steps.packed_loss().item(), steps.plain_loss().item()
    if abs(losses[0] - losses[1]) > 1e-3:
        raise SystemExit(f"packed and plain steps disagree: {losses}")
    steps.packed(), steps.plain()  # the optimiser's state is there from now on
    times = [(a / pairs, b / pairs) for a, b in race(steps.packed, steps.plain, repeats)]
    ours, other = "LoRA step, packed, per pair", "plain: every pair alone with its image"
    found = [result("B6", subject.name, ours, other, times, target="≥ 2.5")]
    found[0].notes = {"pairs a step": pairs, **{f"tokens {k}": v for k, v in steps.tokens.items()}}
    found[0].notes["losses"] = [round(loss, 4) for loss in losses]
    del steps
    gc.collect()
    memory = [(_memory(subject, "packed"), _memory(subject, "plain"))]
    found.append(result("B6", subject.name, "memory of a step, packed", "plain", memory, unit="MiB"))
    return found


def _memory(subject: Subject, kind: str) -> float:
    command = [sys.executable, "-m", "tests.bench.training", kind, subject.folders["base"]]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """`python -m tests.bench.training packed|plain FOLDER`: MiB that two steps take at most, over the opened model."""
    from .memory import status

    kind, folder = sys.argv[1:]
    steps = Steps(folder)
    work: Callable[[], float] = getattr(steps, kind)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    work(), work()
    print(json.dumps(round(status("VmHWM") - before, 1)))


if __name__ == "__main__":
    main()
