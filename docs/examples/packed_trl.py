"""All the pairs of an image behind one image prefix, with TRL's SFTTrainer: MODEL ROWS.json OUT."""

import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText
from trl import SFTConfig, SFTTrainer

from facellm.weights.processor import FaceProcessor
from train.lora.packing.collator import PackedCollator, by_image

base, file, out = sys.argv[1:]
rows = Dataset.from_list(by_image(json.loads(Path(file).read_text(encoding="utf-8"))))
lora = LoraConfig(r=16, lora_alpha=32, target_modules=r".*language_model.*_proj")
model = get_peft_model(AutoModelForImageTextToText.from_pretrained(base), lora)
processor = FaceProcessor.from_pretrained(base)
collator = PackedCollator(model, processor, folder=Path(file).parent)
arguments = SFTConfig(
    out, per_device_train_batch_size=2, learning_rate=1e-4, num_train_epochs=1, remove_unused_columns=False,
    use_cpu=not torch.cuda.is_available(),
)  # fmt: skip
trainer = SFTTrainer(model, arguments, data_collator=collator, train_dataset=rows, processing_class=processor)
trainer.train()
trainer.save_model(out)
