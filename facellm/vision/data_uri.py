"""The one reader of data URIs, in which pictures travel inside of JSON and HTML (RFC 2397)."""

from __future__ import annotations

import base64
from urllib.parse import unquote

from facellm.errors import ImageError

FORM = "data:image/jpeg;base64,..."


def is_data_uri(text: str) -> bool:
    """Whether a text is meant as a data URI."""
    return text[:5].lower() == "data:"


def decode_data_uri(uri: str) -> bytes:
    """Returns the bytes of a data URI in Base64: padded or not, wrapped, URL-safe or percent-encoded.

    Args:
        uri: `FORM`; the media type may have parameters or be missing.

    Raises:
        ImageError: Where it is no data URI, or its Base64 is damaged.
    """
    head, _, data = uri.partition(",")
    try:
        if not is_data_uri(head) or not head.rstrip().lower().endswith(";base64"):
            raise ValueError
        # Some encoders write Base64 of RFC 4648, section 5, and mail programs wrap lines.
        data = "".join(unquote(data).split()).translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
        return base64.b64decode(data + "=" * (-len(data) % 4), validate=True)
    except ValueError:
        raise ImageError(
            "The image's data URI is damaged; it must read data:image/jpeg;base64, and the file in Base64."
        ) from None
