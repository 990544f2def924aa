"""B6: one LoRA step for each question-answer pair, packed (train/lora/packed_attention.py) against plain.

Plain is what the published scripts do: every pair is a sequence of its own with its own image, padded to the longest of
its batch; pairs of similar length share a batch, and the loss is the model's own. Both sides run encoder, decoder,
backward pass and optimiser over the same pairs, and from the same weights their losses and gradients must be equal.
What this file does not know: what the pairs say (.pairs), recipes.
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
from tests.bench.memory import status
from tests.bench.models import CUT, LORA, Subject
from tests.bench.timing import Result, in_model_thread, race, result
from tests.paths import ROOT
from train.lora.conversations import IGNORE
from train.lora.packed_attention import answer_loss, collate, packed_forward, use_packed_attention
from train.lora.packs import pack
from train.lora.trainer import collate_plain

IMAGES = 2  # in a micro-batch; of the model that is cut in depth one
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
    def opened(cls, folder: str, kind: str, images: int = IMAGES) -> Steps:
        """A checkpoint in float32 with a new LoRA of the paper's size."""
        from peft import LoraConfig, get_peft_model
        from transformers import InternVLForConditionalGeneration

        from facellm.weights.processor import FaceProcessor

        torch.manual_seed(0)
        processor = FaceProcessor.from_pretrained(folder)
        base = InternVLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
        model = get_peft_model(base, LoraConfig(r=16, lora_alpha=32, target_modules=LORA)).train()
        for name, weight in model.named_parameters():
            if "lora_B" in name:  # not zero, so that A has a gradient as well
                torch.nn.init.normal_(weight, 0, 0.02)
        return cls(model, processor, kind, images)

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
            loss = self.model(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                labels=batch["labels"],
                pixel_values=self.pixels[batch["images"]],
                use_cache=False,
                num_items_in_batch=int(self.answers),
            ).loss
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

    def disagreement(self) -> tuple[tuple[float, float], float]:
        """Losses of the two ways from the same weights, and the largest difference of a gradient by its norm."""
        found = []
        for way in (self.packed_loss, self.plain_loss):
            loss = way(learn=True)
            found.append((loss, [p.grad for p in self.model.parameters() if p.requires_grad]))
            self.optimizer.zero_grad()
        (packed, ours), (plain, theirs) = found
        apart = max(((a - b).norm() / b.norm()).item() for a, b in zip(ours, theirs, strict=True))
        return (packed, plain), apart

    def _update(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()


def lora_step(subject: Subject, tokens: int, repeats: int) -> list[Result]:
    kinds = ("attributes",) if subject.name == CUT else tuple(PAIRS)
    return in_model_thread(lambda: [one for kind in kinds for one in _lora_step(subject, kind, repeats)])


def _lora_step(subject: Subject, kind: str, repeats: int) -> list[Result]:
    cut = subject.name == CUT
    steps = Steps.opened(subject.folders["base"], kind, 1 if cut else IMAGES)
    count = len(steps.pairs)
    losses, apart = steps.disagreement()
    if abs(losses[0] - losses[1]) > 1e-3 or apart > 1e-3:
        raise SystemExit(f"packed and plain steps disagree: losses {losses}, gradients by {apart:.1e} of their norm")
    if not cut:
        steps.packed(), steps.plain()  # the optimiser's state is there from now on
    peaks: dict[str, tuple[float, float]] = {}

    def watched(name: str, work: Callable[[], None]) -> Callable[[], None]:
        return lambda: peaks.update({name: peak(work)})

    ways = watched("packed", steps.packed), watched("plain", steps.plain)
    times = [(a / count, b / count) for a, b in race(*ways, repeats)]
    ours, other = f"LoRA step for each pair, {WHAT[kind]}, packed", "plain: every pair alone with its image"
    found = [result("B6", subject.name, ours, other, times, target="≥ 3" if cut else "≥ 2.5")]
    found[0].notes = {"pairs a step": count, **{f"tokens {k}": v for k, v in steps.tokens.items()}}
    found[0].notes["losses"] = [round(loss, 4) for loss in losses]
    found[0].notes["largest difference of a gradient, by its norm"] = f"{apart:.1e}"
    del steps, ways
    gc.collect()
    what = f"memory of a step, {WHAT[kind]}, packed"
    if cut:  # a step takes gigabytes, of which the process gives all back: no other process need be started for it
        memory = [(peaks["packed"][0], peaks["plain"][0])]
        found.append(result("B6", subject.name, what, "plain", memory, unit="MiB", slower=True, target="≤ 0.6"))
        found[1].notes = {f"MiB of the process, {way}": whole for way, (_, whole) in peaks.items()}
    else:
        memory = [(_memory(subject, kind, "packed"), _memory(subject, kind, "plain"))]
        found.append(result("B6", subject.name, what, "plain", memory, unit="MiB"))
    return found


def peak(work: Callable[[], None]) -> tuple[float, float]:
    """MiB of the process at its peak while `work` runs: those above what it had before, and all (Linux only)."""
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    work()
    most = status("VmHWM")
    return round(most - before, 1), round(most, 1)


def _memory(subject: Subject, kind: str, way: str) -> float:
    command = [sys.executable, "-m", "tests.bench.training", way, kind, subject.folders["base"]]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """`python -m tests.bench.training packed|plain attributes|taught FOLDER`: MiB of two steps."""
    way, kind, folder = sys.argv[1:]
    work: Callable[[], None] = getattr(Steps.opened(folder, kind), way)
    print(json.dumps(peak(lambda: (work(), work()))[0]))


if __name__ == "__main__":
    main()
