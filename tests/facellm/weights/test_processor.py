"""The processor opens and writes the hub's files without torchvision."""

import json

from facellm.weights.processor import FaceProcessor
from tests.tiny import make_processor, picture


def test_saved_as_the_hubs_class_and_read_back(tmp_path):
    make_processor().save_pretrained(tmp_path)
    assert json.loads((tmp_path / "processor_config.json").read_text())["processor_class"] == "InternVLProcessor"
    again = FaceProcessor.from_pretrained(tmp_path)
    assert again.image_seq_length == 4
    assert again.chat_template == make_processor().chat_template
    assert again.image_token_id == again.tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")


def test_one_tile_unless_asked_for_more():
    processor = make_processor()
    wide = picture().resize((300, 100))
    assert processor.pixels(wide).shape == (1, 3, 56, 56)
    assert processor.pixels(wide, tiles=3).shape == (4, 3, 56, 56)  # three tiles and a thumbnail
