"""Data URIs as clients write them."""

import base64
from urllib.parse import quote

from facellm.vision.data_uri import decode_data_uri
from facellm.vision.images import load_image
from tests.facellm.vision.made_images import CORNERS, corners, encoded, near, picture


def test_data_uris_in_every_form():
    raw = encoded(picture(), "PNG")
    raw += b"\0" * ((1 - len(raw)) % 3)  # two characters of padding
    plain = base64.b64encode(raw).decode()
    assert plain.endswith("==")
    for text in (
        plain,
        plain.rstrip("="),
        base64.encodebytes(raw).decode(),
        plain + "\n",
        quote(plain, safe=""),
        base64.urlsafe_b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
        plain.replace("\n", "\r\n"),
    ):
        for head in ("data:image/png;base64,", "DATA:;charset=utf-8;BASE64,"):
            assert decode_data_uri(head + text) == raw
    assert near(corners(load_image("data:image/png;base64," + plain)), CORNERS)
