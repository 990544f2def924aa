"""InternVL's processor without its video half, so that it opens where torchvision is not installed.

Input: a model's folder or hub name. Output: text with image placeholders, pixel tensors. The files that it reads and
writes are InternVLProcessor's own. What this file does not know: models, devices, conversations (see messages).
"""

from __future__ import annotations

import re
from typing import Any

from transformers import AutoTokenizer, InternVLProcessor
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.processing_utils import ProcessorMixin


class FaceProcessor(InternVLProcessor):
    """tokenizer + PIL image processor + the number of image tokens a tile.

    transformers 5 refuses an InternVLProcessor whose video processor is missing, and its video processor needs
    torchvision. No video is ever shown to a FaceLLM, so this subclass has two parts instead of three.
    """

    # InternVLProcessor cuts a photo into up to 13 tiles unless told otherwise; a face crop is one.
    images_kwargs = {"crop_to_patches": False}  # noqa: RUF012 (read as a class attribute by ProcessorMixin)

    def __init__(self, image_processor=None, tokenizer=None, image_seq_length: int = 256, chat_template=None):
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)
        self.image_seq_length = image_seq_length
        self.start_image_token = tokenizer.start_image_token
        self.end_image_token = tokenizer.end_image_token
        self.start_image_token_id = tokenizer.start_image_token_id
        self.end_image_token_id = tokenizer.end_image_token_id
        self.image_token = tokenizer.context_image_token
        self.image_token_id = tokenizer.context_image_token_id
        self.video_token = tokenizer.video_token
        self.multimodal_pattern = re.compile(
            f"(?P<image>{re.escape(self.image_token)})|(?P<video>{re.escape(self.video_token)})"
        )

    @classmethod
    def _get_arguments_from_pretrained(cls, pretrained_model_name_or_path, processor_dict=None, **kwargs):
        # The PIL image processor by name: the automatic choice differs between machines with and without torchvision.
        # Tokenizers are looked up by `subfolder` too, so merged checkpoints in a subfolder open alike.
        return [
            GotOcr2ImageProcessorPil.from_pretrained(pretrained_model_name_or_path, **kwargs),
            AutoTokenizer.from_pretrained(pretrained_model_name_or_path, **kwargs),
        ]

    def to_dict(self) -> dict[str, Any]:
        # Written as the class that the hub knows, so that other programs open the folder.
        return {**super().to_dict(), "processor_class": "InternVLProcessor"}

    def pixels(self, image, tiles: int = 1):
        """`image` (PIL RGB) as float32 (t, 3, side, side), 1 <= t <= tiles + 1: one tile, or a grid and a thumbnail."""
        options = {"crop_to_patches": True, "min_patches": 1, "max_patches": tiles} if tiles > 1 else {}
        options = options or {"crop_to_patches": False}
        return self.image_processor(images=[image], return_tensors="pt", **options)["pixel_values"]
