"""Stage 4 of nano: embeddings of the words that only face answers use.

The base never meets them, its head is tied to its embeddings, and both are frozen under an adapter, which is too low in
rank to turn the decoder's last state towards hundreds of rows that still stand where they were drawn: "moderate" was
the right word in half of the answers about light and was never said (docs/research/nano.md). Here these rows alone are
trained: on face answers with an adapter beside the pictures of OTHER faces, so that words are learnt and nothing about
faces, and on the base's own pairs without, so that the base keeps to its own words.

`python -m train.nano words`: changes the embeddings in `work/base`, writes losses to `words.jsonl`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from transformers import InternVLForConditionalGeneration

from facellm.weights.processor import FaceProcessor
from train.lora.base_model import start_from
from train.lora.conversations import IGNORE
from train.lora.packed_attention import use_packed_attention
from train.lora.packs import Pack
from train.lora.parts.adapters import make_trainable
from train.lora.recipe import load_recipe
from train.nano.base import WEIGHTING, Tokens, batches, read_packs, step_loss, validate

STEPS, RATE = 600, 3e-3
BATCH_TOKENS = 4096


def answer_tokens(packs: list[Pack], vocabulary: int) -> np.ndarray:
    """(vocabulary,) how often each token stands in an answer."""
    labels = np.concatenate([pack.labels for pack in packs])
    return np.bincount(labels[labels != IGNORE], minlength=vocabulary)


def strangers(packs: list[Pack], rng: np.random.Generator) -> list[Pack]:
    """The same conversations beside other faces."""
    views = rng.permutation([pack.image for pack in packs])
    return [dataclasses.replace(pack, image=int(view)) for pack, view in zip(packs, views, strict=True)]


def train(
    work: Path, *, steps: int = STEPS, rate: float = RATE, limit: int = 8000, seed: int = 0, adapter: Path | None = None
) -> dict[str, float]:
    """Trains the rows and writes the model back. Returns their number and the losses an answer token, on held-out
    pairs, before and after: of face answers with an adapter (`words`), of the base's own without (`base`).

    adapter: one that is trained already; it stays as it is, sees the faces that it describes, and the rows are fitted
    to it. None: a passing one, trained along beside other faces and thrown away.
    """
    rng = np.random.default_rng(seed)
    processor = FaceProcessor.from_pretrained(work / "base")
    # Opened in the format that it is kept in, so that its config goes on naming that.
    model = InternVLForConditionalGeneration.from_pretrained(work / "base", dtype=torch.bfloat16).float()
    peft = make_trainable(model, load_recipe("nano"))
    if adapter:
        start_from(peft, [adapter])
    use_packed_attention(peft)
    tokens = Tokens(work, model)
    own, face, own_val, face_val = (
        read_packs(processor, work / "corpus" / f"{name}.jsonl", count)
        for name, count in (("base", limit), ("facellm", limit), ("val_base", 200), ("val", 200))
    )
    if not adapter:
        face, face_val = strangers(face, rng), strangers(face_val, rng)
    weight = model.get_input_embeddings().weight
    new = (answer_tokens(own, len(weight)) == 0) & (answer_tokens(face, len(weight)) > 0)
    mask = torch.from_numpy(new).unsqueeze(1)
    passing = [] if adapter else [p for p in peft.parameters() if p.requires_grad]
    peft.requires_grad_(False)
    for one in passing:
        one.requires_grad_(True)
    weight.requires_grad_(True).register_hook(lambda gradient: gradient * mask)  # other rows never move
    optimizer = torch.optim.Adam([weight, *passing], lr=rate, betas=(0.9, 0.98))
    log = (work / "words.jsonl").open("a")

    def losses() -> dict[str, float]:
        words = validate(model, tokens, face_val)
        with peft.disable_adapter():
            return {"words": round(words, 4), "base": round(validate(model, tokens, own_val), 4)}

    before = losses()
    peft.train()
    pairs = zip(batches(face, BATCH_TOKENS // 2, rng), batches(own, BATCH_TOKENS // 2, rng), strict=False)
    for step, (words, plain) in enumerate(islice(pairs, steps), 1):
        optimizer.param_groups[0]["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        loss, _ = step_loss(model, tokens, words, WEIGHTING)
        loss.backward()
        with peft.disable_adapter():
            kept, _ = step_loss(model, tokens, plain, WEIGHTING)
            kept.backward()
        optimizer.step()
        if step % 50 == 0:
            line = {"step": step, "words": round(loss.item(), 4), "base": round(kept.item(), 4)}
            print(json.dumps(line), file=log, flush=True)
    after = losses()
    figures = {"rows": int(new.sum())} | {f"{k}_before": v for k, v in before.items()}
    figures |= {f"{k}_after": v for k, v in after.items()}
    print(json.dumps(figures), file=log, flush=True)
    model = peft.unload()
    model.set_attn_implementation({"text_config": "sdpa"})
    model.to(torch.bfloat16).eval().save_pretrained(work / "base", max_shard_size="20MB")
    return figures
