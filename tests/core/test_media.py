from __future__ import annotations

import base64
import io
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from struct import pack

import numpy as np
import PIL.Image
import pytest

from anyformer import media
from anyformer.media import Image
from anyformer.task import Data, validate

RNG = np.random.default_rng(7)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)


def file_of(image: PIL.Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a hundred bytes whose header claims this size, of 1-bit pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return pack(">I", len(content)) + kind + content + pack(">I", zlib.crc32(kind + content))

    header = pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


class Photo(Data):
    image: Image


class TestWhatIsAccepted:
    def test_array_bytes_path_base64_and_data_url_are_the_same_image(self, tmp_path: Path) -> None:
        encoded = file_of(PIL.Image.fromarray(COLOUR))
        (tmp_path / "a.png").write_bytes(encoded)
        text = base64.b64encode(encoded).decode()
        given = [COLOUR, encoded, bytearray(encoded), tmp_path / "a.png", str(tmp_path / "a.png"), text]
        for value in [*given, f"data:image/png;base64,{text}", Image(COLOUR)]:
            np.testing.assert_array_equal(Image.of(value).pixels(), COLOUR)

    def test_arrays_of_one_three_and_four_channels(self) -> None:
        np.testing.assert_array_equal(Image.of(GREY).pixels("L"), GREY)
        np.testing.assert_array_equal(Image.of(GREY[..., None]).pixels("L"), GREY)
        np.testing.assert_array_equal(Image.of(GREY).pixels("RGB"), np.repeat(GREY[..., None], 3, axis=2))
        glass = np.dstack([COLOUR, np.full(GREY.shape, 255, np.uint8)])
        np.testing.assert_array_equal(Image.of(glass).pixels("RGB"), COLOUR)
        assert Image.of(COLOUR).pixels("L").shape == (5, 7)

    def test_json_there_and_back(self) -> None:
        photo = Photo(image=GREY)
        again = Photo.model_validate_json(photo.model_dump_json())
        assert again == photo
        np.testing.assert_array_equal(again.image.pixels("L"), GREY)
        assert Photo.model_json_schema()["properties"]["image"]["contentMediaType"] == "image/*"

    def test_json_never_opens_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(file_of(PIL.Image.fromarray(GREY)))
        path = str(tmp_path / "a.png")
        assert Photo.model_validate({"image": path}).image.pixels().shape == (5, 7, 3)
        with pytest.raises(ValueError, match="names no image file that may be opened here"):
            Photo.model_validate_json(f'{{"image": "{path}"}}')


class TestAsAPersonSeesIt:
    def test_transparent_parts_stand_over_white(self) -> None:
        glass = np.zeros((2, 2, 4), np.uint8)
        glass[0, 0] = 10, 20, 30, 255
        palette = PIL.Image.fromarray(np.array([[0, 1], [1, 1]], np.uint8), "P")
        palette.putpalette([10, 20, 30, 99, 99, 99])
        white = [255, 255, 255]
        for encoded in (file_of(PIL.Image.fromarray(glass)), file_of(palette, transparency=1)):
            np.testing.assert_array_equal(Image.of(encoded).pixels(), [[[10, 20, 30], white], [white, white]])

    def test_sixteen_bit_grey_is_scaled_not_clipped(self) -> None:
        wide = np.array([[0, 257, 32896, 65535]], np.uint16)
        np.testing.assert_array_equal(Image.of(file_of(PIL.Image.fromarray(wide))).pixels("L"), [[0, 1, 128, 255]])

    def test_exif_turns_the_image_upright(self) -> None:
        exif = PIL.Image.Exif()
        exif[0x0112] = 6  # the camera was held on its side: turn by 90 degrees, clockwise
        encoded = file_of(PIL.Image.fromarray(GREY), exif=exif)
        np.testing.assert_array_equal(Image.of(encoded).pixels("L"), np.rot90(GREY, -1))

    def test_cmyk_palette_and_one_bit(self) -> None:
        red = PIL.Image.new("RGB", (8, 8), (255, 0, 0))
        for encoded in (file_of(red.convert("CMYK"), "JPEG", quality=95), file_of(red.convert("P"))):
            assert np.abs(Image.of(encoded).pixels()[4, 4].astype(int) - (255, 0, 0)).max() < 12
        assert Image.of(file_of(PIL.Image.new("1", (3, 2), 1))).pixels("L").tolist() == [[255] * 3] * 2

    def test_an_animation_shows_its_first_frame(self) -> None:
        frames = [PIL.Image.new("L", (4, 4), value) for value in (10, 200)]
        encoded = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
        assert Image.of(encoded).pixels("L").tolist() == [[10] * 4] * 4


WHOLE = file_of(PIL.Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", r"the image is empty \(0 bytes\)"),
        ("", r"the image is empty \(0 bytes\)"),
        (b"hello", "the image is no image that can be read; the formats are PNG, JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no image that can be read"),
        (WHOLE[:400], "the image is broken: .*truncated"),
        (WHOLE[:20], "the image is (broken|no image)"),
        (png_claiming(13_000, 13_000), "the image is 13000 x 13000 pixels; at most 25,000,000 are accepted"),
        (png_claiming(60_000, 60_000), "the image has more than 25,000,000 pixels"),
        (file_of(PIL.Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"), "broken: it holds floating-point values"),
        (file_of(PIL.Image.fromarray(np.full((2, 2), 70_000, np.int32)), "TIFF"), "neither 8 nor 16 bits wide"),
        (Path("no/such.png"), "there is no image file 'no.+such.png'"),
        ("no/such.png", "'no/such.png' is no base64 text, and names no image file"),
        ("prüfung.png", "'prüfung.png' is no base64 text"),
        ("data:image/png,abc", "'data:image/png,abc' is no base64 data URL; write it as"),
        (3, "an image is a path, bytes, base64 text or an array; got int"),
        (np.zeros((2, 2)), r"uint8 \[H, W\] or \[H, W, C\] with 1, 3 or 4 channels; got float64 \[2, 2\]"),
        (np.zeros((2, 2, 2), np.uint8), r"got uint8 \[2, 2, 2\]"),
        (np.zeros((0, 2), np.uint8), r"got uint8 \[0, 2\]"),
        (np.broadcast_to(np.uint8(0), (6000, 6000)), "the image is 6000 x 6000 pixels; at most 25,000,000"),
    ],
)
def test_hostile_images_are_refused_in_one_line(value: object, message: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=message) as caught:
            Image.of(value).pixels()
    assert "\n" not in str(caught.value)


def test_bytes_and_texts_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MAX_BYTES", 2**20)
    (tmp_path / "big.png").write_bytes(bytes(2**20 + 1))
    for value in (bytes(2**20 + 1), "A" * 2**21, "data:image/png;base64," + "A" * 2**21, tmp_path / "big.png"):
        with pytest.raises(ValueError, match="is larger than 1 MiB"):
            Image.of(value).pixels()


def test_a_broken_file_is_named_and_a_row_too(tmp_path: Path) -> None:
    (tmp_path / "half.png").write_bytes(WHOLE[:400])
    (tmp_path / "none.png").touch()
    with pytest.raises(ValueError, match=r"half\.png' is broken"):
        Image.of(tmp_path / "half.png").pixels()
    with pytest.raises(ValueError, match=r"none\.png' is empty"):
        Image.of(tmp_path / "none.png").pixels()
    with pytest.raises(ValueError, match="row 3: 'image': the image is empty"):
        validate(Photo, {"image": b""}, "row 3")


def test_any_bytes_give_pixels_or_one_line() -> None:
    rng = np.random.default_rng(0)
    colours = PIL.Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        whole = file_of(colours, form)
        for _ in range(40):
            broken = bytearray(whole[: rng.integers(1, len(whole) + 1)])
            for place in rng.integers(0, len(broken), 3):
                broken[place] = rng.integers(256)
            try:
                outcome = str(Image.of(bytes(broken)).pixels().dtype)
            except ValueError as error:
                outcome = str(error)
            assert "\n" not in outcome


def test_the_module_imports_neither_pillow_nor_torch() -> None:
    code = "import sys, anyformer.media; sys.exit(any(name in sys.modules for name in ('PIL', 'torch')))"
    subprocess.run([sys.executable, "-c", code], check=True)
