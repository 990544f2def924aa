"""By hand, in an environment that has TRL: do packed batches give its SFTTrainer the gradients of unpacked ones?

    python -m tests.train.lora.trl_check FOLDER        # an empty folder

Trains a step of a tiny InternVL both ways, then runs docs/examples/packed_trl.py. Ends with an error where they differ.
"""

from __future__ import annotations

import runpy
import sys
from importlib.metadata import version
from pathlib import Path

from trl import SFTConfig, SFTTrainer

from tests.paths import ROOT
from tests.tiny import make_tiny_internvl
from tests.train.lora.lora_data import make_data
from tests.train.lora.test_collator import check_equal, packed_and_plain


def main(out: Path) -> None:
    base, data = make_tiny_internvl(out / "base"), make_data(out / "data")
    packed, plain = packed_and_plain(base, data, out / "run", kind=SFTTrainer, config=SFTConfig)
    check_equal(packed, plain)
    sys.argv = ["packed_trl.py", str(base), str(data / "dataset.json"), str(out / "adapter")]
    ran = runpy.run_path(str(ROOT / "docs/examples/packed_trl.py"))["trainer"]
    versions = ", ".join(f"{name} {version(name)}" for name in ("trl", "transformers", "torch", "peft", "datasets"))
    print(f"{len(packed[1])} gradients are equal; loss {packed[0]} packed, {plain[0]} plain; {versions}")
    print(f"the example: {ran.state.global_step} steps, loss {ran.state.log_history[-1]['train_loss']:.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
