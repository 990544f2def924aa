"""Pictures of every kind that people hand over: what is accepted is upright, RGB and bounded; the rest is refused."""

import io
import struct
import subprocess
import sys
import zlib
from functools import cache

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from facellm.errors import FaceLLMError, ImageError
from facellm.vision.images import MAX_FILE_BYTES, MAX_SIDE, load_image
from tests.facellm.vision.made_images import CORNERS, HEIGHT, WIDTH, corners, encoded, near, picture
from tests.paths import EXAMPLES


def heic(image: Image.Image) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=90)
    return file.getvalue()


def animated(fmt: str, mode: str = "RGB") -> bytes:
    rest = [Image.new(mode, (WIDTH, HEIGHT), "black")] * 2
    return encoded(picture().convert(mode), fmt, save_all=True, append_images=rest, duration=50)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing: what a decompression bomb looks like before it is decoded."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    empty = b"IDAT" + zlib.compress(b"")
    chunks = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (body, empty, b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@cache
def phone_jpeg(width: int, height: int, **options) -> bytes:
    return encoded(picture(width // 16, height // 16).resize((width, height)), "JPEG", quality=60, **options)


def jpeg_header(width: int, height: int) -> bytes:
    """A JPEG that claims a size."""
    data = encoded(picture(), "JPEG")
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def with_alpha(mode: str) -> Image.Image:
    """Left half opaque, right half transparent black."""
    image = Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 0))
    image.paste((200, 200, 200, 255), (0, 0, WIDTH // 2, HEIGHT))
    return image.convert(mode)


def transparent_palette() -> bytes:
    image = Image.new("P", (WIDTH, HEIGHT), 0)
    image.putpalette([0, 0, 0, 200, 200, 200])
    image.paste(1, (0, 0, WIDTH // 2, HEIGHT))
    return encoded(image, "PNG", transparency=0)


rgb = np.asarray(picture())
ramp = np.tile(np.linspace(0, 1, WIDTH), (HEIGHT, 1))  # (height, width) in 0..1

# name, source, corner colours expected
COLOURED = [
    ("jpeg", encoded(picture(), "JPEG", quality=95), CORNERS),
    ("progressive jpeg", encoded(picture(), "JPEG", quality=95, progressive=True), CORNERS),
    ("cmyk jpeg", encoded(picture().convert("CMYK"), "JPEG", quality=95), CORNERS),
    ("mpo", encoded(picture(), "MPO", save_all=True, append_images=[picture()], quality=95), CORNERS),
    ("png", encoded(picture(), "PNG"), CORNERS),
    ("palette png", encoded(picture().quantize(16), "PNG"), CORNERS),
    ("rgba png", encoded(picture().convert("RGBA"), "PNG"), CORNERS),
    ("webp", encoded(picture(), "WEBP", quality=95), CORNERS),
    ("lossless webp", encoded(picture(), "WEBP", lossless=True), CORNERS),
    ("gif", encoded(picture(), "GIF"), CORNERS),
    ("animated gif", animated("GIF"), CORNERS),
    ("animated webp", animated("WEBP"), CORNERS),
    ("animated png", animated("PNG"), CORNERS),
    ("heic", heic(picture()), CORNERS),
    ("bytearray", bytearray(encoded(picture(), "PNG")), CORNERS),
    ("memoryview", memoryview(encoded(picture(), "PNG")), CORNERS),
    ("open file", io.BytesIO(encoded(picture(), "PNG")), CORNERS),
    ("pil rgb", picture(), CORNERS),
    ("pil hsv", picture().convert("HSV"), CORNERS),
    ("pil ycbcr", picture().convert("YCbCr"), CORNERS),
    ("pil cmyk", picture().convert("CMYK"), CORNERS),
    ("pil lazy tiff", Image.open(io.BytesIO(encoded(picture(), "TIFF"))), CORNERS),
    ("array uint8", rgb, CORNERS),
    ("array int64", rgb.astype(np.int64), CORNERS),
    ("array float 0..1", (rgb / 255).astype(np.float32), CORNERS),
    ("array float 0..255", rgb.astype(np.float64), CORNERS),
    ("array uint16", rgb.astype(np.uint16) * 257, CORNERS),
    ("array bool", rgb > 127, CORNERS),
    ("array rgba", np.dstack([rgb, np.full((HEIGHT, WIDTH), 255, np.uint8)]), CORNERS),
    ("array not contiguous", np.asfortranarray(rgb), CORNERS),
]


@pytest.mark.parametrize(("source", "expected"), [c[1:] for c in COLOURED], ids=[c[0] for c in COLOURED])
def test_colours_survive(source, expected):
    image = load_image(source)
    assert image.mode == "RGB" and image.size == (WIDTH, HEIGHT)
    assert near(corners(image), expected), corners(image)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP"])
def test_every_exif_orientation_comes_out_upright(fmt, orientation):
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # orientation -> the Transpose that stores a picture so
    stored = picture() if orientation == 1 else picture().transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = load_image(encoded(stored, fmt, exif=exif, **({} if fmt == "PNG" else {"quality": 95})))
    assert image.size == (WIDTH, HEIGHT)
    assert near(corners(image), CORNERS), corners(image)
    assert not image.info and not image.getexif()


GREY = [
    ("l png", encoded(Image.fromarray((ramp * 255).astype(np.uint8)), "PNG")),
    ("l jpeg", encoded(Image.fromarray((ramp * 255).astype(np.uint8)), "JPEG", quality=95)),
    ("16-bit png", encoded(Image.fromarray((ramp * 65535).astype(np.uint16)), "PNG")),
    ("pil I;16", Image.fromarray((ramp * 65535).astype(np.uint16))),
    ("pil I", Image.fromarray((ramp * 65535).astype(np.int32))),
    ("pil I of 8 bits", Image.fromarray((ramp * 255).astype(np.int32))),
    ("pil I of any range", Image.fromarray(((ramp - 0.5) * 2e6).astype(np.int32))),
    ("pil F", Image.fromarray(ramp.astype(np.float32))),
    ("pil F of 0..255", Image.fromarray((ramp * 255).astype(np.float32))),
    ("array", (ramp * 255).astype(np.uint8)),
    ("array x1", (ramp * 255).astype(np.uint8)[:, :, None]),
    ("array float16", ramp.astype(np.float16)),
]


@pytest.mark.parametrize("source", [c[1] for c in GREY], ids=[c[0] for c in GREY])
def test_grey_of_any_depth_keeps_its_range(source):
    values = np.asarray(load_image(source)).astype(int)
    assert values.shape == (HEIGHT, WIDTH, 3) and (values[..., 0] == values[..., 2]).all()
    assert np.abs(values[..., 0] - ramp * 255).max() <= 4


TRANSPARENT = [
    ("rgba", encoded(with_alpha("RGBA"), "PNG")),
    ("la", encoded(with_alpha("LA"), "PNG")),
    ("webp", encoded(with_alpha("RGBA"), "WEBP", lossless=True)),
    ("palette", transparent_palette()),
    ("pil PA", with_alpha("RGBA").convert("PA")),
    ("pil premultiplied", with_alpha("RGBA").convert("RGBa")),
    ("array", np.asarray(with_alpha("RGBA"))),
]


@pytest.mark.parametrize("source", [c[1] for c in TRANSPARENT], ids=[c[0] for c in TRANSPARENT])
def test_transparency_is_laid_on_white(source):
    image = load_image(source)
    assert near(image.getpixel((8, 8)), (200,) * 3, 3) and image.getpixel((WIDTH - 8, 8)) == (255,) * 3


def test_bilevel():
    assert np.unique(np.asarray(load_image(picture().convert("1")))).tolist() == [0, 255]


BAD = [
    ("none", None, "No image was given"),
    ("empty", b"", "0 bytes"),
    ("text renamed .jpg", b"dear reader,\nthis is no photo\n", "is text"),
    ("utf-8 cut in a character", "ä".encode() * 300, "is text"),
    ("random", b"\x00\x01\x02\xfe" * 50, "unknown format"),
    ("jpeg header only", encoded(picture(), "JPEG")[:20], "damaged or incomplete"),
    ("truncated jpeg", encoded(picture(640, 480), "JPEG")[:-900], "damaged or incomplete"),
    ("truncated png", encoded(picture(), "PNG")[:-30], "damaged or incomplete"),
    ("truncated webp", encoded(picture(640, 480), "WEBP", lossless=True)[:-40], "damaged or incomplete"),
    ("truncated gif", encoded(picture(), "GIF")[:-60], "damaged or incomplete"),
    ("truncated heic", heic(picture())[:-200], "damaged or incomplete"),
    ("heic header only", heic(picture())[:40], "damaged or incomplete"),
    ("51 megapixels", png_header(8000, 6400), "8000 x 6400 px, more than the 50 megapixels"),
    ("bomb", png_header(60000, 60000), "50 megapixels"),
    ("1x1", encoded(picture(1, 1), "PNG"), "too small"),
    ("20000x10", encoded(Image.new("L", (20000, 10)), "PNG"), "too small"),
    ("20000x100", encoded(Image.new("L", (20000, 100)), "PNG"), "too long and narrow"),
    ("url", "https://example.org/face.jpg", "is an address"),
    ("data uri of no image", "data:image/png;base64,AAAA", "is in an unknown format"),
    ("damaged data uri", "data:image/png;base64,A?AA", "data URI is damaged"),
    ("data uri without base64", "data:image/svg+xml,%3Csvg%3E", "data URI is damaged"),
    ("60 megapixels in several scans", phone_jpeg(8160, 6144, progressive=True), "50 megapixels"),
    ("300 megapixels of jpeg", jpeg_header(20000, 15000), "20000 x 15000 px, more than the 250 megapixels"),
    ("missing", "no/such/photo.jpg", "There is no file"),
    ("zero byte in the path", "a\0b.jpg", "cannot be opened"),
    ("empty path", "  ", "path is empty"),
    ("number", 3, "cannot be made from a int"),
    ("list", [[1, 2], [3, 4]], "cannot be made from a list"),
    ("text file object", io.StringIO("x"), "binary mode"),
    ("array channels first", np.zeros((3, 64, 96)), "channels must come last"),
    ("array of 4 axes", np.zeros((1, 64, 96, 3)), "1x64x96x3 is not an image"),
    ("array of 1 axis", np.zeros(64), "is not an image"),
    ("array of 2 channels", np.zeros((64, 96, 2)), "is not an image"),
    ("array without pixels", np.zeros((0, 96, 3)), "no pixel"),
    ("array with NaN", np.full((64, 96), np.nan), "NaN"),
    ("array below zero", rgb / 127.5 - 1, "-1 to 1"),
    ("array above 255", rgb.astype(np.int32) * 4, "0 to 1020"),
    ("array of complex", np.zeros((64, 96), complex), "complex128"),
    ("array of text", np.full((64, 96), "x"), "is not an image"),
    ("pil F with NaN", Image.fromarray(np.full((64, 96), np.nan, np.float32)), "not numbers"),
]


@pytest.mark.parametrize(("source", "says"), [c[1:] for c in BAD], ids=[c[0] for c in BAD])
def test_refusals_are_one_sentence(source, says):
    with pytest.raises(ImageError) as caught:
        load_image(source)
    message = str(caught.value)
    assert says in message and message.endswith(".") and "\n" not in message and len(message) < 300
    assert isinstance(caught.value, FaceLLMError)


@pytest.mark.parametrize("size", [(12, 10), (1, 1), (3, 400), (400, 3)])
@pytest.mark.parametrize("fmt", ["PNG", "BMP", "TIFF"])
def test_lenient_takes_any_shape_and_the_formats_of_data_sets(tmp_path, fmt, size):
    path = tmp_path / "image"
    path.write_bytes(encoded(Image.new("RGB", size, (200, 100, 50)), fmt))
    for source in (path, path.read_bytes(), io.BytesIO(path.read_bytes())):
        image = load_image(source, lenient=True)
        assert image.size == size and image.mode == "RGB" and image.getpixel((0, 0)) == (200, 100, 50)
        with pytest.raises(ImageError):
            load_image(source)


@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_lenient_turns_tiffs_upright_and_refuses_what_is_no_image():
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = load_image(encoded(picture().transpose(Image.Transpose.ROTATE_90), "TIFF", exif=exif), lenient=True)
    assert turned.size == (WIDTH, HEIGHT) and near(corners(turned), CORNERS)
    for source, says in (
        (encoded(picture(), "BMP")[:60], "damaged or incomplete"),
        (encoded(picture(), "TIFF")[:60], "damaged or incomplete"),
        (b"dear reader,\nthis is no photo\n", "is text"),
        (png_header(8000, 6400), "50 megapixels"),
    ):
        with pytest.raises(ImageError, match=says):
            load_image(source, lenient=True)


def test_paths(tmp_path):
    path = tmp_path / "photo with spaces.png"
    path.write_bytes(encoded(picture(), "PNG"))
    assert load_image(path).size == load_image(str(path)).size == (WIDTH, HEIGHT)
    wrong = tmp_path / "really-a-png.jpg"
    wrong.write_bytes(path.read_bytes())
    assert near(corners(load_image(wrong)), CORNERS)
    note = tmp_path / "note.jpg"
    note.write_text("hello")
    with pytest.raises(ImageError, match=r"'note\.jpg' is text"):
        load_image(note)
    with pytest.raises(ImageError, match="is a folder"):
        load_image(tmp_path)
    with pytest.raises(ImageError, match="not an ordinary file"):
        load_image("/dev/null")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["note.jpg", "photo with spaces.png", "really-a-png.jpg"]


def test_a_closed_file_is_refused(tmp_path):
    file = io.BytesIO(b"x")
    file.close()
    with pytest.raises(ImageError, match="cannot be read"):
        load_image(file)


def test_an_endless_file_is_refused_at_the_limit():
    class Endless:
        def read(self, size):
            assert size == MAX_FILE_BYTES + 1
            return Long()

    class Long(bytes):
        def __len__(self):
            return MAX_FILE_BYTES + 1

    with pytest.raises(ImageError, match="larger than 256 MB"):
        load_image(Endless())


@pytest.mark.parametrize("size", [(4000, 3000), (3000, 4000), (2049, 300)])
@pytest.mark.parametrize("fmt", ["JPEG", "PNG"])
def test_large_photos_are_bounded_and_keep_their_shape(fmt, size):
    image = load_image(encoded(picture(*size), fmt))
    assert max(image.size) == MAX_SIDE
    assert abs(image.width / image.height - size[0] / size[1]) < 0.01 * size[0] / size[1]
    assert near(corners(image), CORNERS)


def test_a_phones_jpeg_may_have_more_than_50_megapixels():
    """A Pixel 8 Pro's 50.1: what counts is the quarter of the size at which it is decoded."""
    data = phone_jpeg(8160, 6144)
    image = load_image(data)
    assert image.size == (MAX_SIDE, 1542) and near(corners(image), CORNERS)
    with pytest.raises(ImageError, match="50 megapixels"):
        load_image(Image.open(io.BytesIO(data)))  # a caller's picture is decoded as it is


@pytest.mark.slow
def test_200_megapixels_of_jpeg_take_little_memory():
    """In a process of its own, whose peak is the decoder's: the pixels alone would be 600 MB."""
    code = (
        "import io, resource, sys\nfrom facellm.vision.images import load_image\n"
        "data = sys.stdin.buffer.read()\nload_image(data[:0] + open(sys.argv[1], 'rb').read())\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nimage = load_image(data)\n"
        "print(*image.size, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(EXAMPLES / "hopper.jpg")],
        input=phone_jpeg(16320, 12240), capture_output=True, check=True,
    ).stdout.split()  # fmt: skip
    assert told[:2] == [b"2048", b"1536"] and int(told[2]) < 200


def test_the_result_shares_nothing_with_the_source():
    source = picture()
    image = load_image(source)
    image.putpixel((0, 0), (1, 2, 3))
    assert source.getpixel((0, 0)) == CORNERS[0]


def test_a_callers_lazy_photo_keeps_its_size():
    source = Image.open(io.BytesIO(encoded(picture(4400, 3200), "JPEG")))
    assert max(load_image(source).size) == MAX_SIDE
    assert source.size == (4400, 3200) and near(corners(source), CORNERS)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_costs_no_picture():
    data = encoded(picture(), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01")
    assert near(corners(load_image(data)), CORNERS)


def test_importing_loads_no_heavy_library():
    heavy = "{'torch', 'onnxruntime', 'pillow_heif'}"
    code = f"import sys, facellm.vision.images, facellm.vision.faces; print(sorted({heavy} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
