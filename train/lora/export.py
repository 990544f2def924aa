"""`python -m train export`: an adapter merged into its base, as a checkpoint that stands alone.

Writes a model folder (safetensors shards, config, tokenizer, processor) that facellm and plain transformers open alike.
A base that the adapter was not trained on is refused, and the merged model must answer as base and adapter do before
anything is written.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from facellm.storage.files import write_json, write_text
from facellm.weights.registry import EMBEDDED, MODELS
from train.outputs import usable_folder
from train.reports.pages import render

PROMPTS = ("Describe this image.", "What is the age group of the person?")
ANSWER_TOKENS = 24


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m train export", description=__doc__.splitlines()[0])
    made.add_argument("model", nargs="?", choices=EMBEDDED, help="an embedded model, merged with its own adapter")
    made.add_argument("--adapter", type=Path, help="or an adapter folder that `train lora` wrote")
    made.add_argument("--out", type=Path, required=True, help="folder for the merged model; must not exist")
    made.add_argument("--base", default=None, help="folder or name of the base (default: as the adapter says)")
    made.add_argument("--image", type=Path, action="append", default=[], help="image for the check; may be repeated")
    made.add_argument("--merge-in", choices=("float32", "bf16"), default="float32", help="precision of the sum")
    made.add_argument("--dtype", choices=("float32", "bf16"), default=None, help="stored as (default: as the base is)")
    made.add_argument("--max-shard-size", default="5GB", help="largest file")
    made.add_argument("--device", default="cpu", help="cpu or cuda")
    return made


def main(argv: Sequence[str]) -> int:
    args = parser().parse_args(argv)
    if (args.model is None) == (args.adapter is None):
        raise FaceLLMError(f"Name a model ({', '.join(EMBEDDED)}), or give --adapter.")
    adapter, base = args.adapter, args.base
    if args.model:
        if base:
            raise FaceLLMError(f"{args.model} has a base of its own; leave out --base.")
        adapter, base = Path(MODELS[args.model].adapter or ""), args.model
    figures = export(
        adapter, args.out, base=base, images=args.image, merge_in=args.merge_in, dtype=args.dtype,
        max_shard_size=args.max_shard_size, device=args.device,
    )  # fmt: skip
    print(json.dumps(figures))
    return 0


def export(
    adapter: Path, out: Path, *, base: str | None = None, images: Sequence[Path] = (), merge_in: str = "float32",
    dtype: str | None = None, max_shard_size: str = "5GB", device: str = "cpu",
) -> dict[str, Any]:  # fmt: skip
    """Merges an adapter into its base and writes the result.

    Args:
        adapter: The adapter's folder.
        out: The model's folder; must not exist.
        base: Folder or name of the base (None: as the adapter says).
        images: Images for the comparison of answers (none: two made ones).
        merge_in: "float32" or "bf16", the precision of the sum.
        dtype: "float32" or "bf16", how weights are stored (None: as the base's are).
        max_shard_size: The largest file.
        device: "cpu" or "cuda".

    Returns:
        What was compared.

    Raises:
        FaceLLMError: Where the base is another one or the merged model answers otherwise; nothing is left at `out`.
    """
    from facellm.weights.adapter import attach
    from facellm.weights.checkpoint import adapter_or_merged, read_json
    from facellm.weights.processor import VIDEO_CONFIG
    from train.lora.base_model import TRAINING, base_folder, open_base, public_name
    from train.lora.parts.whole import stored_dtype, write_model

    adapter, out = Path(adapter), Path(out)
    if out.exists():
        raise FaceLLMError(f"{out} exists already; name another --out or remove it.")
    usable_folder(out.absolute().parent)
    folder, _ = adapter_or_merged(str(adapter))
    if folder is None:
        raise FaceLLMError(f"{adapter} is no adapter but a whole model; there is nothing to merge.")
    known = read_json(folder / TRAINING) if (folder / TRAINING).is_file() else {}
    named = base or known.get("base", {}).get("name")
    named = named or read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if not named:
        raise FaceLLMError(f"The adapter in {folder} does not say what its base is; name it with --base.")
    place = base_folder(named)
    check_base(folder, known, str(named), place)

    model, processor = open_base(place, merge_in, "none", device)
    model = attach(model, folder, "facellm", str(named))
    questions = _questions(processor, images, model)
    separate = [_answer(model, question) for question in questions]
    merged = model.merge_and_unload(safe_merge=True)
    together = [_answer(merged, question) for question in questions]
    # bf16 sums round differently, so there only what is stored in float32 must agree to the letter.
    if merge_in == "float32" and separate != together:
        raise FaceLLMError("The merged model answers differently from base and adapter; nothing was written.")

    stored = dtype or stored_dtype(place)
    part = out.with_name(out.name + ".part")
    write_model(merged, place, part, stored, max_shard_size)
    if not (part / VIDEO_CONFIG).exists():
        write_json(part / VIDEO_CONFIG, processor.video_config())
    figures = {
        "base": str(named),
        "adapter": known.get("base", {}),
        "dtype": stored,
        "compared": len(questions),
        "equal_before_storing": sum(a == b for a, b in zip(separate, together, strict=True)),
        "equal_as_stored": _equal_as_stored(part, merge_in, device, questions, separate),
    }
    card = render("merged.md.jinja", base=public_name(named), data=known.get("data", {}).get("digest", "")[:16],
                  figures=figures)  # fmt: skip
    write_text(part / "README.md", card)
    part.rename(out)
    return figures


def check_base(folder: Path, known: dict, named: str, place: Path) -> None:
    """Raises FaceLLMError if the adapter's own record names other weights than those in `place`."""
    from facellm.weights.fingerprint import weights_digest

    wanted = known.get("base", {}).get("digest")
    if wanted is None:
        print(f"{folder} does not record its base's weights; only names and shapes are checked.", file=sys.stderr)
    elif weights_digest(place) != wanted:
        raise FaceLLMError(
            f"The base {named} is not the one that the adapter in {folder} was trained on "
            f"({known['base']['name']}): their weights differ; give that base with --base."
        )


def _questions(processor: Any, images: Sequence[Path], model: Any) -> list[dict]:
    """Model inputs: every prompt about every image; without images, about two made ones (a ramp and its mirror)."""
    import numpy as np
    from PIL import Image

    from facellm.messages import build_messages, expand_image, render
    from facellm.vision.images import load_image

    shown = [load_image(image) for image in images]
    if not shown:
        ramp = np.indices((96, 96)).transpose(1, 2, 0).astype(np.uint8)
        ramp = np.concatenate([ramp * 2, 255 - ramp[:, :, :1]], axis=2)
        shown = [Image.fromarray(ramp), Image.fromarray(ramp[:, ::-1].copy())]
    device = next(model.parameters()).device
    made = []
    for image in shown:
        for prompt in PROMPTS:
            text = expand_image(processor, render(processor, build_messages(prompt)))
            ids = processor.tokenizer(text, add_special_tokens=False, return_tensors="pt").to(device)
            made.append({**ids, "pixel_values": processor.pixels(image).to(device)})
    return made


def _answer(model: Any, question: dict) -> list[int]:
    """Greedy tokens up to the model's own EOS token."""
    import torch

    with torch.inference_mode():
        made = model.generate(**question, max_new_tokens=ANSWER_TOKENS, do_sample=False, pad_token_id=0)
    return made[0, question["input_ids"].shape[1] :].tolist()


def _equal_as_stored(part: Path, precision: str, device: str, questions: list[dict], separate: list) -> int:
    """How many answers of the files just written, opened by plain transformers, equal those of base and adapter."""
    import torch
    from transformers import AutoModelForImageTextToText

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model = AutoModelForImageTextToText.from_pretrained(part, dtype=dtype, use_safetensors=True).to(device).eval()
    return sum(_answer(model, question) == answer for question, answer in zip(questions, separate, strict=True))
