"""Metadata that costs no picture: megabytes of XMP, texts and colour profiles, before and after the pixels."""

import struct
import zlib

import pytest
from PIL import Image

from facellm.vision.images import load_image
from tests.facellm.vision.made_images import CORNERS, HEIGHT, WIDTH, corners, encoded, near, picture


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "kind",
    ["text", "packed text", "international text", "packed international text", "profile", "damaged text", "many texts"],
)
def test_bulky_metadata_costs_no_png(kind, when):
    """Editors write megabytes of XMP and profiles; small texts stay, since they may tell the orientation."""
    long = b"x" * 1_200_000
    made = {
        "text": [png_chunk(b"tEXt", b"note\0" + long)],
        "packed text": [png_chunk(b"zTXt", b"note\0\0" + zlib.compress(long))],
        "international text": [png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + long)],
        "packed international text": [png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(long))],
        "profile": [png_chunk(b"iCCP", b"wide\0\0" + zlib.compress(bytes(1_200_000)))],
        "damaged text": [png_chunk(b"zTXt", b"note\0\0no zlib")],
        "many texts": [png_chunk(b"zTXt", b"note\0\0" + zlib.compress(long[:900_000]))] * 80,
    }[kind]
    data = encoded(picture(), "PNG")
    place = 33 if when == "before" else len(data) - 12  # after the header, or before the end
    image = load_image(data[:place] + b"".join(made) + data[place:])
    assert image.size == (WIDTH, HEIGHT) and near(corners(image), CORNERS)


def test_a_pngs_small_texts_still_tell_its_orientation():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/></x:xmpmeta>'
    data = encoded(picture().transpose(Image.Transpose.ROTATE_90), "PNG")
    texts = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp) + png_chunk(b"tEXt", b"a\0" + b"x" * 2**21)
    assert near(corners(load_image(data[:33] + texts + data[33:])), CORNERS)


def test_bulky_metadata_costs_no_jpeg_or_webp():
    for fmt in ("JPEG", "WEBP"):
        data = encoded(picture(), fmt, quality=95, icc_profile=bytes(1_200_000))
        assert len(data) > 1_200_000 and near(corners(load_image(data)), CORNERS)
