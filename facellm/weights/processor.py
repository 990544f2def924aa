"""InternVL's processor without its video half, so that it opens where torchvision is not installed.

The files that it reads and writes are InternVLProcessor's own.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import AutoTokenizer, InternVLProcessor
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.processing_utils import ProcessorMixin

from facellm.storage.files import write_json

if TYPE_CHECKING:
    import torch
    from PIL import Image


VIDEO_CONFIG = "video_preprocessor_config.json"


class FaceProcessor(InternVLProcessor):
    """Tokenizer, PIL image processor, and the number of image tokens of a tile.

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

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> Any:
        """Writes the processor's files, and the video processor's that a plain `AutoProcessor` asks for."""
        written = super().save_pretrained(save_directory, *args, **kwargs)
        write_json(Path(save_directory) / VIDEO_CONFIG, self.video_config())
        return written

    def video_config(self) -> dict[str, Any]:
        """Returns video_preprocessor_config.json: no video is shown to a FaceLLM, but where torchvision is installed
        transformers opens no InternVL folder without it. Frames would be prepared as images are."""
        images = self.image_processor
        return {
            "video_processor_type": "InternVLVideoProcessor",
            "processor_class": "InternVLProcessor",
            "size": dict(images.size),
            "image_mean": list(images.image_mean),
            "image_std": list(images.image_std),
            "resample": int(images.resample),
            "rescale_factor": images.rescale_factor,
            "do_convert_rgb": True,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "do_sample_frames": False,
        }

    def pixels(self, image: Image.Image, tiles: int = 1) -> torch.Tensor:
        """Turns an RGB image into tiles.

        Args:
            image: The image.
            tiles: 1, or the most tiles of a grid that a thumbnail follows.

        Returns:
            (t, 3, side, side) float32, 1 <= t <= tiles + 1.
        """
        return self.image_processor(images=[image], return_tensors="pt", **_grid(tiles))["pixel_values"]

    def tile_count(self, height: int, width: int, tiles: int) -> int:
        """Returns how many tiles `pixels` makes of an image, from its size in px alone."""
        return self.image_processor.get_number_of_image_patches(height, width, _grid(tiles))


def _grid(tiles: int) -> dict[str, Any]:
    """The image processor's options for a grid of at most `tiles` tiles."""
    if tiles == 1:
        return {"crop_to_patches": False}
    return {"crop_to_patches": True, "min_patches": 1, "max_patches": tiles}
