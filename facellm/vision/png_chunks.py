"""What is taken out of a PNG before it is decoded: metadata that is used for nothing, or larger than Pillow accepts.

Pillow refuses a whole picture for a text or a colour profile of more than 1 MB, which editors do write.
"""

from __future__ import annotations

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_TEXT = 2**20 - 2**10  # bytes of one text, unpacked; Pillow's MAX_TEXT_CHUNK is 2**20
MAX_TEXTS = 16 * 2**20  # bytes of all together; Pillow's MAX_TEXT_MEMORY is 64 times MAX_TEXT_CHUNK
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")  # small ones stay: XMP and "Raw profile type exif" may tell the orientation


def without_bulk(data: bytes) -> bytes:
    """Returns a PNG without its colour profile and without texts above `MAX_TEXT`; the pixels are untouched.

    Args:
        data: The file. What is no whole chunk is kept as it is, for the decoder to judge.
    """
    kept: list[memoryview] = []
    whole, place, copied, texts = memoryview(data), len(SIGNATURE), 0, 0
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length  # length, type, content, checksum
        if end > len(data) or kind == b"IEND":
            break
        bulk = kind == b"iCCP"
        if kind in _TEXTS:
            size = _unpacked(kind, whole[place + 8 : end - 4])
            bulk = size > MAX_TEXT or texts + size > MAX_TEXTS
            texts += 0 if bulk else size
        if bulk:
            kept.append(whole[copied:place])
            copied = end
        place = end
    return b"".join([*kept, whole[copied:]]) if kept else data


def _unpacked(kind: bytes, content: memoryview) -> int:
    """Bytes of a text once unpacked, counted up to a little above MAX_TEXT."""
    if len(content) > MAX_TEXT or kind == b"tEXt":
        return len(content)
    packed = bytes(content).partition(b"\0")[2]  # after the keyword
    if kind == b"iTXt":
        if packed[:1] != b"\1":  # stored as it is
            return len(content)
        packed = packed[2:].partition(b"\0")[2].partition(b"\0")[2]  # after method, language and translated keyword
    else:
        packed = packed[1:]  # after the method
    try:
        return len(zlib.decompressobj().decompress(packed, MAX_TEXT + 1))
    except zlib.error:
        return MAX_TEXT + 1  # damaged, and no reason to refuse the picture
