"""The stage that writes what mini's adapter learns, in the form that `python -m train lora` reads.

Conversations about faces that the teacher saw, about pictures without a face, and without a picture: these are
answered by the untouched decoder, so that the adapter forgets nothing. Images are named as `handover` names their
features, so no picture is opened.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from facellm.errors import FaceLLMError
from facellm.storage.files import write_json, write_text
from facellm.weights.fingerprint import weights_digest
from train.lora.feature_cache import FeatureCache
from train.mini.language import face_conversations, text_only
from train.mini.language.balance import Balance
from train.mini.language.face_conversations import SHEET, YES_OR_NO, Mix, Turns
from train.mini.vision import negatives, readings
from train.nano.assemble import CHAT_TEMPLATE
from train.seen.claims.disputes import truth_of
from train.seen.known.face_record import Face, read_faces
from train.seen.known.pixel_cache import load as load_pixels
from train.seen.known.split import TRAIN, VAL, read_splits
from train.seen.typed import no_face

TAUGHT = Mix(eight=2, typed=14, two=2, formats=2, choices=2, fact_lines=0, profile=1)
DENSE_SHARE = 0.7  # of the faces have a sheet of facts, and of them a conversation of yes and no
VAL_FACES = 96
NO_FACE_EVERY = 12  # one picture without a face to so many faces
PLAIN, PLAIN_TOKENS, PLAIN_BATCH = "plain.json", 96, 16  # of an answer of the untouched decoder; prompts at once
TELLING = (
    *("glasses", "headwear", "facial_hair", "makeup", "teeth", "expression", "hair_colour", "hair_length", "covering"),
)
RAREST = 0.02  # share of faces below which a word makes a face no more wanted


def wanted(faces: Sequence[Face], count: int, seed: int) -> list[Face]:
    """Draws faces without replacement, those with rarer tags sooner: glasses, hats, beards, strong expressions.

    A face's weight is the frequency of its rarest word in `TELLING`, to the power of -1/2, so that a rare word comes up
    more often than chance and the common ones still as the most (Efraimidis and Spirakis 2006 for the draw).
    """
    known = [{(name, face.tags.get(name)) for name in TELLING if face.tags.get(name) is not None} for face in faces]
    frequency = Counter(pair for pairs in known for pair in pairs)
    rng = random.Random(f"wanted:{seed}")

    def weight(pairs: set[tuple[str, str | None]]) -> float:
        return max(RAREST, min((frequency[pair] / len(faces) for pair in pairs), default=1.0)) ** -0.5

    drawn = [(rng.random() ** (1 / weight(pairs)), place) for place, pairs in enumerate(known)]
    return [faces[place] for _, place in sorted(drawn, reverse=True)[:count]]


def plain_answers(decoder: Path, prompts: Sequence[str]) -> Iterator[str]:
    """What the untouched decoder says to each prompt, greedily, in our template; "" where it came to no end."""
    tokenizer = AutoTokenizer.from_pretrained(decoder, padding_side="left")
    tokenizer.chat_template = CHAT_TEMPLATE
    model = LlamaForCausalLM.from_pretrained(decoder, dtype=torch.float32).eval()
    for start in range(0, len(prompts), PLAIN_BATCH):
        asked = [[{"role": "user", "content": prompt}] for prompt in prompts[start : start + PLAIN_BATCH]]
        given = tokenizer.apply_chat_template(
            asked, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
        )
        with torch.inference_mode():
            out = model.generate(
                **given, max_new_tokens=PLAIN_TOKENS, do_sample=False, eos_token_id=tokenizer.eos_token_id
            )
        for ids in out[:, given["input_ids"].shape[1] :].tolist():
            ended = tokenizer.eos_token_id in ids
            yield tokenizer.decode(ids, skip_special_tokens=True).strip() if ended else ""


def known_answers(kept: Path, decoder: Path, prompts: Sequence[str]) -> dict[str, str]:
    """What `plain_answers` gives, by prompt; kept in a file, because they take minutes and never change."""
    asked = {"decoder": weights_digest(decoder), "tokens": PLAIN_TOKENS}
    known = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    said: dict[str, str] = known.get("said", {}) if known.get("asked") == asked else {}
    new = [prompt for prompt in prompts if prompt not in said]
    if new:
        said |= dict(zip(new, plain_answers(decoder, new), strict=True))
        write_json(kept, {"asked": asked, "said": said})
    return {prompt: said[prompt] for prompt in prompts}


def write(data: Path, work: Path, decoder: Path, count: int, each: int | None = None, seed: int = 0) -> dict[str, int]:
    """Writes `work/pairs/train.jsonl` and `val.jsonl`.

    Args:
        data: Folder with utkface/, expressions/ and seen/.
        work: Folder with `lora-features/` and `readings.npz` of the stages before.
        decoder: The untouched decoder.
        count: Faces of `train` at most.
        each: Conversations about one face or picture of `train` at most, drawn at random; None takes all. Many faces
            with few words each teach to look; few faces with many words teach to talk.
        seed: Of every draw.

    Returns:
        How many faces, pictures without one, and conversations there are.

    Raises:
        FaceLLMError: Where a stage before was not run.
    """
    for needed in (work / "lora-features" / "index.json", work / "readings.npz"):
        if not needed.is_file():
            raise FaceLLMError(f"{needed} is missing: run the stages `readings` and `handover` first.")
    featured = set(FeatureCache(work / "lora-features").rows)
    believed = readings.read(work / "readings.npz")
    pixels = work / "pairs" / "pixels.npz"
    known = read_faces(data, pixels=load_pixels(pixels), tagged=True)
    split_of = read_splits(data)
    parts: dict[str, list[Face]] = {TRAIN: [], VAL: []}
    for name, face in known.items():
        if name in featured:
            parts[split_of[name]].append(face.with_probabilities(believed.get(name, {})))
    chosen = {TRAIN: wanted(parts[TRAIN], count, seed), VAL: parts[VAL][:: max(1, len(parts[VAL]) // VAL_FACES)]}
    balance = Balance.of(truth_of(face) for face in chosen[TRAIN])  # not of all: rarer features are drawn sooner
    bare = sorted(name for name in featured if negatives.kind_of(name))
    random.Random(seed).shuffle(bare)
    held = max(1, len(bare) // 20)
    without = {VAL: bare[:held], TRAIN: bare[held:][: max(1, len(chosen[TRAIN]) // NO_FACE_EVERY)]}
    prompts = text_only.prompts("trained", seed)
    plain = [(q, a) for q, a in known_answers(work / "pairs" / PLAIN, decoder, prompts).items() if a]
    rows = 0
    for part in (TRAIN, VAL):
        most = each if part == TRAIN else None
        lines = [*_about(chosen[part], balance, seed, most), *_of_nobody(without[part], seed, most)]
        if part == TRAIN:
            lines += [_row([turn], None) for turn in plain]
        rows += len(lines)
        write_text(work / "pairs" / f"{part}.jsonl", "".join(f"{line}\n" for line in lines))
    return {
        "faces": len(chosen[TRAIN]),
        "without": len(without[TRAIN]),
        "plain": len(plain),
        "conversations": rows,
    }


def _about(faces: Iterable[Face], balance: Balance, seed: int, most: int | None) -> Iterator[str]:
    for face in faces:
        dense = random.Random(f"dense:{seed}:{face.file}")
        told = [
            turns
            for mix in (SHEET, YES_OR_NO)
            if dense.random() < DENSE_SHARE
            for turns in face_conversations.pairs_of(face, balance, seed, mix)
        ]
        told += face_conversations.pairs_of(face, balance, seed, TAUGHT)[:most]  # their order is random
        for turns in told:
            yield _row(turns, face.file)


def _of_nobody(names: Iterable[str], seed: int, most: int | None) -> Iterator[str]:
    for name in names:
        rng = random.Random(f"{seed}:{name}")
        told = list(no_face.pairs(rng, negatives.kind_of(name)))
        for turns in told if most is None else rng.sample(told, min(most, len(told))):
            yield _row(turns, name)


def _row(turns: Turns, image: str | None) -> str:
    said = [{"from": who, "value": text} for turn in turns for who, text in zip(("human", "gpt"), turn, strict=True)]
    return json.dumps({"conversations": said, "images": [image] if image else []}, ensure_ascii=False)
