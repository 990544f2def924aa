"""The plain way: one question, one model, one `generate` call, the image encoded again each time.

The reference that the engine is tested and benchmarked against.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch

from facellm.engine.network import eos_ids
from facellm.engine.sampling import Sampling
from facellm.messages import build_messages, render
from facellm.results import Row

if TYPE_CHECKING:
    from PIL import Image

    from facellm.weights.load import LoadedModel


@torch.inference_mode()
def generate(
    loaded: LoadedModel, image: Image.Image, row: Row, sampling: Sampling | None = None
) -> tuple[list[int], str]:
    """Returns the greedy answer of transformers' own generate(): token ids without the EOS token, and text."""
    sampling = sampling or Sampling()
    processor = loaded.processor
    text = render(processor, build_messages(row.question, row.history, row.system))
    model = loaded.merged if loaded.merged is not None and row.variant == "facellm" else loaded.model
    inputs = processor(text=[text], images=[image], return_tensors="pt").to(model.device)
    off = loaded.adapter_name is not None and row.variant == "base"
    with model.disable_adapter() if off else nullcontext():
        output = model.generate(
            **inputs,
            max_new_tokens=sampling.max_new_tokens,
            do_sample=False,
            repetition_penalty=sampling.repetition_penalty,
        )
    ids = output[0, inputs["input_ids"].shape[1] :].tolist()
    if ids and ids[-1] in eos_ids(loaded):
        ids.pop()
    return ids, processor.tokenizer.decode(ids, skip_special_tokens=True).replace("\ufffd", "")
