"""What the repository keeps of mini: the base without its decoder, which every machine gets from its own wheel.

Weights of tower and connector are stored in bf16, the adapter as `train lora` wrote it, beside the configs and the
processor's files; `facellm.weights.split_checkpoint` puts them and the decoder's together again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import safe_open
from safetensors.torch import save_file

from facellm.errors import FaceLLMError
from facellm.profile import KNOWN_FIELDS
from facellm.storage.files import atomic_path, write_json
from facellm.weights.fingerprint import weights_digest
from facellm.weights.registry import METADATA
from facellm.weights.split_checkpoint import OWN_WEIGHTS, own_files
from train.lora.base_model import TRAINING

OWN = ("vision_tower.", "multi_modal_projector.")  # names as the hub's InternVLs have them in their files
DECLARED = {"model": "mini", "label_set": "utkface", "fields": [field.key for field in KNOWN_FIELDS]}
LEFT_OUT = (".safetensors", ".index.json")
MOST_A_FILE = "20MB"
ANSWERED_WELL = 0.8  # the lower end of an intent's share of right answers, from which the page offers it


def answered_well(results: Path) -> list[str]:
    """Intents that FaceLLM answers well by the results.json of `python -m train chat`.

    Raises:
        FaceLLMError: Where FaceLLM was not measured, or not on `val`: the split that is to be looked at once chooses
            nothing.
    """
    read = json.loads(results.read_text(encoding="utf-8"))
    measured = read.get("models", {}).get("facellm")
    if read.get("split") != "val" or measured is None:
        raise FaceLLMError(f"{results} is no measurement of FaceLLM on val; run `python -m train chat --both` there.")
    return [name for name, counts in measured["intents"].items() if counts["right"]["low"] >= ANSWERED_WELL]


def ship(base: Path, out: Path, adapter: Path | None = None, chat: Path | None = None) -> dict[str, int]:
    """Copies the base's files without the decoder's weights to `out`, and the adapter to `out/adapter`.

    Args:
        base: What the connector's stage wrote.
        out: The folder to write.
        adapter: What `train lora` wrote; None where there is none yet.
        chat: The results.json of `python -m train chat` on `val`; None leaves out what the model answers well.

    Returns:
        Bytes by file name.

    Raises:
        FaceLLMError: For a base without weights, or an adapter that was trained on another one.
    """
    out.mkdir(parents=True, exist_ok=True)
    own: dict[str, torch.Tensor] = {}
    for shard in sorted(base.glob("*.safetensors")):
        with safe_open(shard, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118 (not a dict)
                if name.startswith(OWN):
                    own[name] = opened.get_tensor(name).to(torch.bfloat16).contiguous()
    if not own:
        raise FaceLLMError(f"{base} holds no tower and no connector; give the folder that the connector's stage wrote.")
    for former in own_files(out):
        former.unlink()
    parts = split_torch_state_dict_into_shards(own, filename_pattern=OWN_WEIGHTS, max_shard_size=MOST_A_FILE)
    for name, inside in parts.filename_to_tensors.items():
        with atomic_path(out / name) as partial:
            save_file({key: own[key] for key in inside}, partial, metadata={"format": "pt"})
    for file in base.iterdir():
        if file.is_file() and not file.name.endswith(LEFT_OUT):
            shutil.copyfile(file, out / file.name)
    if adapter is not None:
        known = json.loads((adapter / TRAINING).read_text(encoding="utf-8"))
        if known["base"]["digest"] != weights_digest(base):
            raise FaceLLMError(f"The adapter in {adapter} was trained on another base than {base}: train it again.")
        shutil.copytree(adapter, out / "adapter", dirs_exist_ok=True)
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    answers = {"answers": answered_well(chat)} if chat is not None else {}
    write_json(out / "config.json", config | {METADATA: DECLARED | answers})
    return {file.relative_to(out).as_posix(): file.stat().st_size for file in sorted(out.rglob("*")) if file.is_file()}
