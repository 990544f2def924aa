"""Turns any picture that a user hands over into one upright RGB image of bounded size.

Files may be JPEG (also MPO, as phones write it), PNG, WebP, HEIC or GIF; the format is read from the content, never
from the name. Nothing is written to disk and no metadata (EXIF, GPS) survives. Colour profiles are not applied: a
wide-gamut photo is read as if it were sRGB.
"""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, JpegImagePlugin

from facellm.errors import ImageError
from facellm.vision.data_uri import decode_data_uri, is_data_uri
from facellm.vision.file_kinds import is_avif, what_is
from facellm.vision.png_chunks import SIGNATURE, without_bulk

MAX_PIXELS = 50_000_000  # that are decoded, by the file's header, checked before anything is
MAX_JPEG_PIXELS = (
    250_000_000  # of a JPEG, which is decoded at 1/2, 1/4 or 1/8 of its size: a bound on the time it takes
)
MAX_FILE_BYTES = 256 * 2**20  # above what 50 megapixels take in any accepted format in practice
MAX_SIDE = 2048  # px, of the image that is returned
MIN_SIDE = 16  # px, of the shorter side; a face needs more than this to be a face
MAX_ASPECT = 20.0  # longer side / shorter side

FORMATS = ("JPEG", "PNG", "WebP", "HEIC", "GIF")  # as named to users
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif", ".gif")  # for file choosers; never trusted
_PIL_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")  # Pillow's JPEG reader hands MPO on by itself
_DATA_FORMATS = ("BMP", "TIFF")  # of data sets, hardly of photos: read only where any image is wanted
_JPEG = b"\xff\xd8\xff"
_SNIFFED = 2**16  # bytes that are looked at to name what cannot be read
_DATA_MAGIC = (b"BM", b"II*\x00", b"MM\x00*")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

# EXIF orientation -> what makes the stored pixels upright (EXIF 2.32, tag 0x0112; 1 is upright).
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_image(
    source: str | os.PathLike | bytes | bytearray | memoryview | Image.Image | np.ndarray | BinaryIO,
    *,
    lenient: bool = False,
) -> Image.Image:
    """Opens a picture as an upright RGB image.

    Args:
        source: A path or data URI (no address), the bytes of an image file, an open binary file, a PIL image of any
            mode, or an array of shape (height, width) or (height, width, 1 | 3 | 4), channels last, as bool, uint8,
            uint16, another integer type holding 0..255, or finite floats in 0..1 or 0..255.
        lenient: For the images of a benchmark, which are asked about as they are: any shape from 1 x 1 px on, and files
            in BMP and TIFF as well.

    Returns:
        A new `PIL.Image.Image` in mode RGB, upright by its EXIF orientation, at most `MAX_SIDE` px a side, without
        metadata. Transparency is laid on white; of an animation only the first frame is read.

    Raises:
        ImageError: With one sentence for the user, for everything that cannot be used.
    """
    if source is None:
        raise ImageError("No image was given: choose a photo first.")
    if isinstance(source, Image.Image):
        return _finish(source, "The image", lenient)
    if isinstance(source, np.ndarray):
        return _finish(_from_array(source), "The array", lenient)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(io.BytesIO(bytes(source)), "The uploaded file", lenient)
    if isinstance(source, (str, os.PathLike)):
        return _from_path(source, lenient)
    if hasattr(source, "read"):
        return _from_file(source, "The file", lenient)
    raise ImageError(
        f"An image cannot be made from a {type(source).__name__}: give a path, the bytes of a file, an open binary "
        "file, a PIL image or a numpy array."
    )


def _from_path(source: str | os.PathLike, lenient: bool) -> Image.Image:
    text = os.fsdecode(source)
    if is_data_uri(text):
        return _decode(io.BytesIO(decode_data_uri(text)), "The image", lenient)
    if text.split(":", 1)[0].lower() in ("http", "https", "ftp", "s3", "gs") and ":" in text:
        raise ImageError(f"{_shorten(text)!r} is an address, not a file: download the image and give its path.")
    if not text.strip():
        raise ImageError("The image's path is empty: give the path of a photo.")
    try:
        mode = Path(text).stat().st_mode
    except FileNotFoundError:
        raise ImageError(f"There is no file {_shorten(text)!r}: check the path.") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise ImageError(f"The file {_shorten(text)!r} cannot be opened: {_reason(error)}.") from None
    if stat.S_ISDIR(mode):
        raise ImageError(f"{_shorten(text)!r} is a folder: give the path of one image in it.")
    if not stat.S_ISREG(mode):
        raise ImageError(f"{_shorten(text)!r} is not an ordinary file: give the path of an image file.")
    try:
        with Path(text).open("rb") as file:
            return _from_file(file, repr(_shorten(Path(text).name)), lenient)
    except OSError as error:
        raise ImageError(f"The file {_shorten(text)!r} cannot be read: {_reason(error)}.") from None


def _from_file(file: BinaryIO, name: str, lenient: bool) -> Image.Image:
    """Read at most MAX_FILE_BYTES; reading it whole makes pipes and uploads behave as files do."""
    try:
        data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a closed file
        raise ImageError(f"{name} cannot be read: {_reason(error)}.") from None
    if isinstance(data, str):
        raise ImageError(f"{name} was opened as text: open it in binary mode ('rb').")
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"{name} is larger than {MAX_FILE_BYTES // 2**20} MB: save it as a smaller JPEG.")
    return _decode(io.BytesIO(data), name, lenient)


def _decode(file: io.BytesIO, name: str, lenient: bool) -> Image.Image:
    head = file.getvalue()[:512]
    if not head:
        raise ImageError(f"{name} is empty (0 bytes): choose another image.")
    formats: tuple[str, ...] = _PIL_FORMATS + _DATA_FORMATS if lenient else _PIL_FORMATS
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS and not is_avif(head):
        import pillow_heif  # loads libheif: only for those who have such a photo

        pillow_heif.register_heif_opener()
        formats = ("HEIF",)
    if head.startswith(SIGNATURE):
        file = io.BytesIO(without_bulk(file.getvalue()))
    try:
        if head.startswith(_JPEG):  # not by Image.open, which refuses 200 megapixels whatever is decoded of them
            image: Image.Image = JpegImagePlugin.jpeg_factory(file, "")
        else:
            image = Image.open(file, formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"{name} has {_too_many_pixels()}") from None
    except Exception as error:  # Pillow's readers raise anything at hostile bytes; all of it means "not a picture"
        if _is_accepted(head) or formats == ("HEIF",) or (lenient and head.startswith(_DATA_MAGIC)):
            raise ImageError(f"{name} is damaged or incomplete: save or upload it again.") from error
        raise ImageError(
            f"{name} is {what_is(file.getvalue()[:_SNIFFED])}, not an image that can be read here: "
            f"use {', '.join(FORMATS[:-1])} or {FORMATS[-1]}."
        ) from error
    with image:
        return _finish(image, name, lenient, file.getvalue())


def _finish(image: Image.Image, name: str, lenient: bool, data: bytes | None = None) -> Image.Image:
    """Checks the bounds, decodes, converts and turns upright. `image` may be lazy; the result shares nothing with it.
    Where `data` is given, it was opened from these bytes here and may be changed; a caller's is at most loaded."""
    width, height = image.size
    jpeg = data is not None and image.format in ("JPEG", "MPO")
    scale = min(1.0, MAX_SIDE / max(width, height))
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    if jpeg and scale < 1:
        image.draft(image.mode, target)  # JPEG decodes at 1/2, 1/4, 1/8 for a fraction of the work
    held = image.width * image.height if jpeg and _one_scan(data or b"", image) else width * height
    if held > MAX_PIXELS or width * height > MAX_JPEG_PIXELS:
        limit = MAX_JPEG_PIXELS if held <= MAX_PIXELS else MAX_PIXELS
        raise ImageError(f"{name} is {width} x {height} px, {_too_many_pixels(limit)}")
    if min(width, height) < MIN_SIDE and not lenient:
        raise ImageError(
            f"{name} is {width} x {height} px, too small to see a face in: "
            f"its shorter side must be {MIN_SIDE} px or more."
        )
    if max(width, height) > MAX_ASPECT * min(width, height) and not lenient:
        raise ImageError(
            f"{name} is {width} x {height} px, too long and narrow: crop it to the part with the face "
            f"(at most {MAX_ASPECT:.0f} times as long as wide)."
        )
    try:
        image.load()
        orientation = _orientation(image)
        rgb = _to_rgb(image, name)
        if scale < 1:
            rgb = rgb.resize(target, Image.Resampling.LANCZOS, reducing_gap=3.0)
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(f"{name} does not fit into memory: save it at a smaller size.") from None
    except Exception as error:  # as in _decode: a decoder may raise anything at damaged data
        raise ImageError(f"{name} is damaged or incomplete: save or upload it again.") from error
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    rgb.info = {}  # no EXIF, GPS or comments travel further
    return rgb


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # a broken EXIF block must not cost the user a picture whose pixels are fine
        return 1


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Any mode -> RGB, a copy. Transparency goes onto white, as a browser shows it."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _deep_grey(np.asarray(image), name).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        if image.mode in ("RGBa", "La"):  # premultiplied: back to straight alpha first
            image = image.convert(image.mode[:-1] + "A")
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=image.getchannel("A"))
        return white
    rgb = image.convert("RGB")
    return rgb.copy() if rgb is image else rgb


def _deep_grey(values: np.ndarray, name: str) -> Image.Image:
    """Modes I;16, I and F, (height, width), to 8-bit grey by the range that the numbers speak of."""
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise ImageError(f"{name} holds values that are not numbers (NaN or infinite): save it as an ordinary image.")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 65535:  # no known range: stretch what is there
        values = (values - low) * (255.0 / max(high - low, 1e-12))
    elif high > 255:
        values = values / 257.0
    elif high <= 1 and (values % 1).any():
        values = values * 255.0
    return Image.fromarray(np.rint(values).astype(np.uint8))


def _from_array(array: np.ndarray) -> Image.Image:
    shape = "x".join(map(str, array.shape)) or "a single number"
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        hint = " (channels must come last)" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        raise ImageError(
            f"An array of shape {shape} is not an image: give height x width, or height x width x 1, 3 or 4{hint}."
        )
    if array.size == 0:
        raise ImageError(f"An array of shape {shape} holds no pixel: give an image with pixels.")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise ImageError(f"The array is {array.shape[1]} x {array.shape[0]} px, {_too_many_pixels()}")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = (array / 257.0).round()
    elif array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise ImageError("The array holds NaN or infinite values: replace them before handing it over.")
        if array.min() >= 0:
            array = (array * 255.0 if array.max() <= 1 else array).round()
    elif array.dtype.kind not in "iu":
        raise ImageError(f"An array of type {array.dtype} is not an image: give uint8, or floats in 0..1.")
    if array.min() < 0 or array.max() > 255:
        raise ImageError(
            f"The array's values run from {array.min():g} to {array.max():g}: scale them to 0..255, or floats to 0..1."
        )
    return Image.fromarray(np.ascontiguousarray(array.astype(np.uint8)))


def _is_accepted(head: bytes) -> bool:
    """True for the first bytes of a JPEG, PNG, GIF or WebP: what then cannot be opened is damaged."""
    return head.startswith((_JPEG, b"\x89PNG", b"GIF8")) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def _one_scan(data: bytes, image: Image.Image) -> bool:
    """Whether a JPEG's decoder holds a few rows of it at a time. Of one in several scans (progressive, or with its
    colours apart) it holds all coefficients, at whatever size the picture is decoded."""
    place = 2
    while place + 4 < len(data) and not image.info.get("progressive"):
        if data[place] != 0xFF or data[place + 1] == 0xFF:  # fill bytes
            place += 1
        elif data[place + 1] == 0xDA:  # the first scan: is every colour in it?
            return data[place + 4] == len(image.getbands())
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return False


def _too_many_pixels(limit: int = MAX_PIXELS) -> str:
    return f"more than the {limit // 10**6} megapixels that are accepted: save it at a smaller size."


def _shorten(text: str, limit: int = 120) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".").lower()
