"""The last stage of nano: base, adapter and calibration copied into the folder that the package ships.

Weights are stored in bf16, sharded under 20 MB; the model card is written by hand and stays.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from facellm.errors import FaceLLMError
from train.lora.base_model import check_record

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "recipe.yaml", "training.json")


def ship(work: Path, adapter: Path, out: Path) -> dict[str, float]:
    """Copies the files and returns the sizes in MB. Raises FaceLLMError where the adapter is incomplete."""
    from safetensors.torch import load_file, save_file

    missing = [name for name in ADAPTER_FILES if not (adapter / name).is_file()]
    if missing:
        raise FaceLLMError(f"{adapter} has no {missing[0]}; train the adapter with `python -m train lora` first.")
    check_record(adapter)
    out.mkdir(parents=True, exist_ok=True)
    for old in [*out.glob("*.safetensors"), out / "model.safetensors.index.json"]:
        old.unlink(missing_ok=True)
    for source in sorted((work / "base").iterdir()):
        shutil.copy(source, out / source.name)
    (out / "adapter").mkdir(exist_ok=True)
    for name in ADAPTER_FILES:
        shutil.copy(adapter / name, out / "adapter" / name)
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file(
        {name: value.bfloat16() for name, value in weights.items()},
        out / "adapter" / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    config_file = out / "adapter" / "adapter_config.json"
    config = json.loads(config_file.read_text()) | {"base_model_name_or_path": "facellm/nano", "inference_mode": True}
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    training_file = out / "adapter" / "training.json"
    training = json.loads(training_file.read_text())
    training["base"]["name"] = "facellm/nano"
    training_file.write_text(json.dumps(training, indent=2) + "\n")
    sizes = {path.name: round(path.stat().st_size / 1e6, 2) for path in sorted(out.rglob("*.safetensors"))}
    return sizes | {"total": round(sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6, 2)}
