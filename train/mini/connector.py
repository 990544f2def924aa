"""The stage that makes mini's base: the decoder stays as it was found and is shown what pictures look like.

`python -m train.mini connector` begins with `word_slots` (image tokens that stand for words), then trains through the
frozen decoder on lists of facts, the rare ones stated more often, and on captions. It writes `connector.jsonl` (losses,
figures), goes on from `connector.last.pt` where it was stopped, and leaves `connector.pt` and the whole model in hub
format in `base/`.
"""

from __future__ import annotations

import json
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from facellm.errors import FaceLLMError
from facellm.storage.files import atomic_path
from train.lora.conversations import IGNORE
from train.lora.packed_attention import answer_loss, collate, packed_forward, use_packed_attention
from train.lora.packs import Pack, pack
from train.mini import assemble, dense, dense_facts, word_slots
from train.mini.vision import face_table, tower
from train.mini.vision.token_cache import Features, encode
from train.seen.known import split, tags

CHECKPOINT_SECONDS = 240
LOG_STEPS = 10
RATE, WARM_UP = 4e-4, 0.05
FACES_IN_STEP = 6
CAPTION_SHARE = 0.5  # of the faces of a step also have their caption told
VAL_FACES = 120


@dataclass(frozen=True)
class Shown:
    """What the connector's training is about: faces, their facts and captions, and the tower's features of them.

    truth: int64 (faces, facts).  weights: fact -> by place, how much a word is to be stated.  train, val: rows.
    """

    faces: face_table.Faces
    truth: np.ndarray
    weights: dict[str, np.ndarray]
    captions: dict[str, str]
    features: Features
    train: np.ndarray
    val: np.ndarray

    def places(self, row: int) -> dict[str, int]:
        """fact -> place of its word, of one face."""
        return dict(zip(dense_facts.FACTS, self.truth[row].tolist(), strict=True))


def prepare(data: Path, work: Path, net: tower.FaceNet, side: int, limit: int | None, seed: int = 0) -> Shown:
    """Reads the faces and encodes those that the teacher saw (at most `limit` for training), and val's among them."""
    table = face_table.load(data, work)
    rng = np.random.default_rng(seed)
    train, val = (np.flatnonzero((table.split == name) & table.seen) for name in (split.TRAIN, split.VAL))
    train = np.sort(rng.permutation(train)[:limit])
    cached = encode(net, table, np.concatenate([train, val]), side, work / f"features-{side}")
    columns = dense_facts.columns(table)
    seen = tags.read_seen(data / "seen")
    return Shown(
        faces=table,
        truth=np.stack(list(columns.values()), 1),
        weights={name: dense_facts.weights(column, train) for name, column in columns.items()},
        captions={name: seen[name].caption for name in table.names[np.concatenate([train, val])].tolist()},
        features=cached,
        train=train,
        val=val,
    )


def packs_of(shown: Shown, processor: Any, rows: np.ndarray, draw: random.Random) -> list[Pack]:
    """One pack a face: a list of facts, of some faces two, and of some the caption, behind one image."""
    packs = []
    for row in rows.tolist():
        name = str(shown.faces.names[row])
        told = [
            dense.fact_list(processor, shown.places(row), shown.weights, draw) for _ in range(1 + draw.getrandbits(1))
        ]
        if draw.random() < CAPTION_SHARE:
            told.append(dense.caption(processor, shown.captions[name], draw))
        told = [one for one in told if one is not None]
        if told:
            packs += pack(told, image=name, image_token_id=processor.image_token_id)
    return packs


def forward(model: nn.Module, packs: list[Pack], shown: Shown) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (answer tokens, vocabulary) and their targets of packs."""
    batch = collate(packs)
    made = model.model.multi_modal_projector(shown.features.of(np.asarray(batch["images"])))
    return packed_forward(model, batch, image_features=made)


@torch.inference_mode()
def told_rightly(model: nn.Module, processor: Any, shown: Shown, rows: np.ndarray) -> dict[str, float]:
    """Share of faces `rows` of which the decoder would say the right word after a fact's name, by fact, and the mean
    over the facts of the recalls of their words ("balanced")."""
    openings = {name: dense.open_fact(processor, name) for name in dense_facts.FACTS}
    firsts = {name: torch.tensor(dense.first_tokens(processor, name)) for name in dense_facts.FACTS}
    said: dict[str, list[tuple[int, int]]] = {name: [] for name in dense_facts.FACTS}
    for part in np.array_split(rows, max(1, len(rows) // 4)):
        packs, asked = [], []
        for row in part.tolist():
            known = {name: place for name, place in shown.places(row).items() if place >= 0}
            if not known:
                continue
            told = []
            for name in known:
                ids = openings[name] + [int(firsts[name][0])]
                told.append((ids, [IGNORE] * (len(ids) - 1) + ids[-1:]))
            packs += pack(told, image=str(shown.faces.names[row]), image_token_id=processor.image_token_id)
            asked += list(known.items())
        if packs:
            logits, _ = forward(model, packs, shown)
            for line, (name, place) in zip(logits, asked, strict=True):
                said[name].append((int(line[firsts[name]].argmax()), place))
    figures, recalls = {}, []
    for name, pairs in said.items():
        if pairs:
            guess, truth = np.array(pairs).T
            figures[name] = round(float((guess == truth).mean()), 4)
            recalls.append(np.mean([(guess[truth == place] == place).mean() for place in np.unique(truth)]))
    return figures | {"balanced": round(float(np.mean(recalls)), 4) if recalls else 0.0}


def train(
    data: Path,
    work: Path,
    decoder: Path,
    tower_file: Path,
    *,
    minutes: float = math.inf,
    steps: float = math.inf,
    slot_epochs: int = 4,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Runs the stage, which ends after so many `minutes` or `steps`, whichever is first, and returns the figures on val
    faces. `limit`: use only so many training faces."""
    if math.isinf(minutes) and math.isinf(steps):
        raise FaceLLMError("The connector's training would never end: give it minutes or steps.")
    torch.manual_seed(seed)
    net = tower.load(tower_file)
    side = tower.side_of(net.state_dict())
    shown = prepare(data, work, net, side, limit, seed)
    processor = assemble.make_processor(decoder, side)
    model = assemble.make_model(net, side, decoder, processor, seed).requires_grad_(False)
    use_packed_attention(model)
    connector = model.model.multi_modal_projector.requires_grad_(True)
    last, log = work / "connector.last.pt", work / "connector.jsonl"
    state = torch.load(last, weights_only=False) if last.exists() else None  # our own; holds a sampler's state
    if state is None:
        _begin(connector, model, processor, shown, slot_epochs, log)
    figures = _through_decoder(model, processor, shown, state, (minutes, steps), last, log, seed)
    _write(work / "connector.pt", {"connector": connector.state_dict(), "val": figures, "side": side})
    assemble.save(model, processor, work / "base")
    return figures


def _begin(connector: nn.Module, model: nn.Module, processor: Any, shown: Shown, epochs: int, log: Path) -> None:
    embeddings = model.get_input_embeddings().weight.detach()
    made = word_slots.make(
        embeddings, processor.tokenizer, assemble.image_tokens(processor.image_processor.size["height"])
    )
    names, truth = shown.faces.names, shown.truth
    loss = word_slots.fit(connector, shown.features, names[shown.train], truth[shown.train], made, epochs=epochs)
    _log(
        log,
        {"slots": word_slots.right(connector, shown.features, names[shown.val], truth[shown.val], made), "loss": loss},
    )
    _log(log, {"step": 0, "val": told_rightly(model, processor, shown, shown.val[:VAL_FACES])})


def _through_decoder(
    model: nn.Module,
    processor: Any,
    shown: Shown,
    state: dict | None,
    ends: tuple[float, float],
    last: Path,
    log: Path,
    seed: int,
) -> dict[str, float]:
    connector = model.model.multi_modal_projector
    optimizer = torch.optim.AdamW(connector.parameters(), RATE, weight_decay=0.01, betas=(0.9, 0.98))
    draw, step, spent = random.Random(seed), 0, 0.0
    if state is not None:
        connector.load_state_dict(state["connector"])
        optimizer.load_state_dict(state["optimizer"])
        draw.setstate(state["draw"])
        step, spent = state["step"], state["spent"]
    began = checked = time.monotonic()
    losses: list[float] = []
    while True:
        now = time.monotonic()
        done = max((spent + now - began) / 60 / ends[0], step / ends[1])
        if now - checked > CHECKPOINT_SECONDS:
            saved = {"connector": connector.state_dict(), "optimizer": optimizer.state_dict(), "draw": draw.getstate()}
            _write(last, saved | {"step": step, "spent": spent + now - began})
            checked = now
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, done / WARM_UP) * 0.5 * (1 + math.cos(math.pi * done))
        rows = np.array(draw.sample(shown.train.tolist(), min(FACES_IN_STEP, len(shown.train))))
        logits, targets = forward(model, packs_of(shown, processor, rows, draw), shown)
        loss = answer_loss(logits, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(connector.parameters(), 1.0)
        optimizer.step()
        step += 1
        losses.append(loss.item())
        if step % LOG_STEPS == 0:
            _log(log, {"step": step, "done": round(done, 3), "loss": round(float(np.mean(losses)), 4)})
            losses = []
    figures = told_rightly(model, processor, shown, shown.val[:VAL_FACES])
    _log(log, {"step": step, "val": figures})
    return figures


def _log(path: Path, line: dict) -> None:
    with path.open("a") as log:
        print(json.dumps(line), file=log)


def _write(path: Path, content: dict) -> None:
    with atomic_path(path) as partial:
        torch.save(content, partial)
