"""What cannot be read here is named in its refusal."""

import struct

import pytest

from facellm.errors import ImageError
from facellm.vision.images import load_image
from tests.facellm.vision.made_images import encoded, picture


def tiff_directory(*tags: int) -> bytes:
    """A little-endian TIFF whose first directory has these tags, each the number 1."""
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, 1) for tag in sorted(tags))
    return b"II*\x00" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 4


KINDS = [
    ("pdf", b"%PDF-1.7 ...", "a PDF document"),
    ("zip", b"PK\x03\x04....", "a ZIP archive"),
    ("bmp", encoded(picture(), "BMP"), "a BMP image"),
    ("tiff", encoded(picture(), "TIFF"), "a TIFF image"),
    ("video", b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isomavc1", "a video"),
    ("svg", b"<svg xmlns='x'></svg>", "an SVG drawing"),
    ("svg with a prologue", b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- made by hand -->\n<svg></svg>", "an SVG drawing"),
    ("web page", b"\n<!DOCTYPE html><html><body><svg></svg>", "a web page"),
    ("jpeg xl codestream", b"\xff\x0a\xfa\x7f\x01", "a JPEG XL image"),
    ("jpeg xl", b"\x00\x00\x00\x0cJXL \r\n\x87\n\x00\x00\x00\x14ftypjxl ", "a JPEG XL image"),
    ("jpeg 2000", encoded(picture(), "JPEG2000"), "a JPEG 2000 image"),
    ("avif", b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1", "an AVIF image"),
    ("dng", tiff_directory(271, 330, 50706), "a camera's raw photo (DNG)"),
    ("nef", tiff_directory(271, 330), "a camera's raw photo (NEF"),
    ("cr2", b"II*\x00\x10\x00\x00\x00CR\x02\x00", "a camera's raw photo (CR2)"),
    ("cr3", b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01", "a camera's raw photo (CR3)"),
    ("raf", b"FUJIFILMCCD-RAW 0201", "a camera's raw photo (RAF)"),
    ("webm", b"\x1a\x45\xdf\xa3\x01\x00\x00\x00", "a video"),
    ("avi", b"RIFF\x00\x00\x00\x00AVI LIST", "a video"),
    ("quicktime", b"\x00\x00\x00\x08wide\x00\x00", "a video"),
    ("netpbm", encoded(picture(), "PPM"), "a Netpbm image"),
    ("icon", encoded(picture(), "ICO"), "a Windows icon"),
]


@pytest.mark.parametrize(("source", "says"), [c[1:] for c in KINDS], ids=[c[0] for c in KINDS])
def test_a_refusal_names_what_came(source, says):
    with pytest.raises(ImageError) as caught:
        load_image(source)
    message = str(caught.value)
    assert f" is {says}" in message and message.endswith("use JPEG, PNG, WebP, HEIC or GIF.")
