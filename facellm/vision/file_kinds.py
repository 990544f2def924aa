"""What a file is that cannot be read here, told from its first bytes, so that the refusal can name what came."""

from __future__ import annotations

import re
import struct

_RAW = "a camera's raw photo"
_VIDEO = "a video"
_MAGIC = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"BM", "a BMP image"),
    (b"8BPS", "a Photoshop document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
    (b"\x00\x00\x01\x00", "a Windows icon"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
    (b"qoif", "a QOI image"),
    (b"gimp xcf", "a GIMP document"),
    (b"{\\rtf", "an RTF document"),
    (b"FUJIFILMCCD-RAW", f"{_RAW} (RAF)"),
    (b"IIRO", f"{_RAW} (ORF)"),
    (b"IIRS", f"{_RAW} (ORF)"),
    (b"MMOR", f"{_RAW} (ORF)"),
    (b"IIU\x00", f"{_RAW} (RW2)"),
    (b"FOVb", f"{_RAW} (X3F)"),
    (b"\x1a\x45\xdf\xa3", _VIDEO),  # Matroska, WebM
    (b"FLV\x01", _VIDEO),
    (b"OggS", "an Ogg video or sound"),
    (b"\x00\x00\x01\xba", _VIDEO),  # MPEG program stream
    (b"\x00\x00\x01\xb3", _VIDEO),  # MPEG-1 and 2
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _VIDEO),  # Windows Media
    (b"ID3", "a sound file"),
)
_TIFF = {b"II*\x00": "<", b"MM\x00*": ">", b"II+\x00": "<", b"MM\x00+": ">"}  # the last two: BigTIFF
# Tags of a TIFF's first directory (TIFF 6.0, TIFF/EP, DNG 1.6).
_MAKE, _SUB_DIRECTORIES, _DNG_VERSION = 271, 330, 50706
_NETPBM = re.compile(rb"P[1-6]\s")


def is_avif(head: bytes) -> bool:
    """Whether a file of HEIF's container is AVIF, which may carry HEIF's generic brand too; libheif builds differ in
    whether they read it."""
    size = int.from_bytes(head[:4], "big")
    return b"avif" in head[8 : min(size, len(head))]


def what_is(head: bytes) -> str:
    """Names the kind of a file.

    Args:
        head: Its first bytes: 512 tell most kinds, 64 KB a raw photo from a TIFF.

    Returns:
        A noun with its article.
    """
    for magic, what in _MAGIC:
        if head.startswith(magic):
            return what
    if head[:4] in _TIFF:
        return _kind_of_tiff(head)
    if head[4:8] == b"ftyp":
        return "an AVIF image" if is_avif(head) else f"{_RAW} (CR3)" if head[8:11] == b"crx" else _VIDEO
    if head[:4] == b"RIFF":
        return {b"AVI ": _VIDEO, b"WAVE": "a sound file"}.get(head[8:12], "in an unknown format")
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free"):  # QuickTime without ftyp
        return _VIDEO
    if _NETPBM.match(head):
        return "a Netpbm image"
    return _kind_of_text(head[:512])


def _kind_of_tiff(head: bytes) -> str:
    if head[8:10] == b"CR":
        return f"{_RAW} (CR2)"
    order = _TIFF[head[:4]]
    try:
        (start,) = struct.unpack_from(f"{order}I", head, 4)
        (count,) = struct.unpack_from(f"{order}H", head, start)
        tags = {struct.unpack_from(f"{order}H", head, start + 2 + 12 * i)[0] for i in range(min(count, 200))}
    except struct.error:  # the directory lies further on, or it is a BigTIFF
        return "a TIFF image"
    if _DNG_VERSION in tags:
        return f"{_RAW} (DNG)"
    return f"{_RAW} (NEF, ARW or the like)" if {_MAKE, _SUB_DIRECTORIES} <= tags else "a TIFF image"


def _kind_of_text(head: bytes) -> str:
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The sniffed bytes may end inside a character; anything earlier is binary.
        if error.start < len(head) - 4:
            return "in an unknown format"
        text = head[: error.start].decode("utf-8-sig")
    if not all(c.isprintable() or c.isspace() for c in text):
        return "in an unknown format"
    start = text.lstrip().lower()
    if start.startswith(("<!doctype html", "<html")):
        return "a web page"
    if start.startswith("<") and "<svg" in start:
        return "an SVG drawing"
    return "text"
