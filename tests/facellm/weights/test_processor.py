"""The processor opens and writes the hub's files without torchvision."""

import json

from facellm.weights.checkpoint import open_processor
from facellm.weights.processor import VIDEO_CONFIG, FaceProcessor
from facellm.weights.registry import NANO
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


def test_a_plain_auto_processor_finds_the_file_that_it_asks_for(tmp_path):
    processor = make_processor()
    processor.save_pretrained(tmp_path)
    written = json.loads((tmp_path / VIDEO_CONFIG).read_text())
    assert written["video_processor_type"] == "InternVLVideoProcessor" and written["size"] == {
        "height": 56,
        "width": 56,
    }
    assert json.loads((NANO / VIDEO_CONFIG).read_text()) == open_processor(NANO).video_config()
