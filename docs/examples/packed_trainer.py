"""All the pairs of an image behind one image prefix, with the plain Hugging Face Trainer: MODEL ROWS.json OUT."""

import json
import sys
from pathlib import Path

from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText, Trainer, TrainingArguments

from facellm.weights.processor import FaceProcessor
from train.lora.packing.collator import PackedCollator, by_image

base, file, out = sys.argv[1:]
rows = by_image(json.loads(Path(file).read_text(encoding="utf-8")))
lora = LoraConfig(r=16, lora_alpha=32, target_modules=r".*language_model.*_proj")
model = get_peft_model(AutoModelForImageTextToText.from_pretrained(base), lora)
collator = PackedCollator(model, FaceProcessor.from_pretrained(base), folder=Path(file).parent)
arguments = TrainingArguments(
    out, per_device_train_batch_size=2, learning_rate=1e-4, num_train_epochs=1, remove_unused_columns=False
)
trainer = Trainer(model, arguments, data_collator=collator, train_dataset=rows)
trainer.train()
trainer.save_model(out)
