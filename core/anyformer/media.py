"""Media as values of a task's Input or Output: an image travels as bytes with a mime and a bound.

* In JSON an image is base64 text, or a `data:` URL. From Python it may also be given as a path, as bytes, or as an
  array [H, W] or [H, W, C] of uint8. JSON text never opens a file: it may come from a stranger.
* The size is read from the file's header and checked before a pixel is decoded: a small file can unfold to gigabytes.
* Every file is seen as a person would see it: turned upright as its EXIF data say, transparent parts over white, 16-bit
  grey scaled to 8 bits, the first frame of an animation.
* Pillow is imported only when an image is opened or encoded.
"""

from __future__ import annotations

import base64
import io
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

MAX_PIXELS = 25_000_000
"""An image with more pixels than this is refused before it is decoded."""
MAX_BYTES = 64 * 2**20
"""A file or a text longer than this is refused before it is read."""
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""The only formats that are opened. Pillow knows forty, and hands some of them to other programs."""

_OPENING = threading.Lock()


class Image:
    """An image: encoded bytes, a file, or an array of uint8 [H, W] or [H, W, C]; decoded when `pixels` is asked for."""

    mime = "image/*"

    def __init__(self, value: Path | bytes | np.ndarray, name: str = "the image") -> None:
        self.value = value
        self.name = repr(str(value)) if isinstance(value, Path) else name
        """What errors call it."""

    @classmethod
    def of(cls, value: Any) -> Image:
        """An image from a path, bytes, base64 text, a `data:` URL or an array.

        Raises `ValueError` saying what was given and what is possible.
        """
        if isinstance(value, Image):
            return value
        if isinstance(value, np.ndarray):
            return cls(_checked(value))
        if isinstance(value, bytes | bytearray):
            return cls(_bounded(bytes(value)))
        if isinstance(value, str):
            path = _path_of(value)
            return cls(path) if path is not None else cls.of_text(value)
        if isinstance(value, Path):
            if not value.is_file():
                raise ValueError(f"there is no image file {str(value)!r}")
            return cls(value)
        raise ValueError(f"an image is a path, bytes, base64 text or an array; got {type(value).__name__}")

    @classmethod
    def of_text(cls, value: Any) -> Image:
        """An image from base64 text or a base64 `data:` URL, never from a path: what JSON may carry."""
        if not isinstance(value, str):
            raise ValueError(f"an image is base64 text; got {type(value).__name__}")
        if len(value) > MAX_BYTES * 4 // 3 + 256:
            raise ValueError(f"the image is larger than {MAX_BYTES // 2**20} MiB")
        head, comma, text = value.partition(",") if value.startswith("data:") else ("", "", value)
        if head and not (comma and head.endswith(";base64")):
            raise ValueError(f"{value[:40]!r} is no base64 data URL; write it as 'data:image/png;base64,...'")
        try:
            content = base64.b64decode(text, validate=True)
        except ValueError:
            shown = repr(value[:60])
            raise ValueError(f"{shown} is no base64 text, and names no image file that may be opened here") from None
        return cls(_bounded(content))

    @property
    def encoded(self) -> bytes:
        """The image as bytes of a file: as given, or an array encoded as PNG."""
        if isinstance(self.value, bytes):
            return self.value
        if isinstance(self.value, Path):
            try:
                if self.value.stat().st_size > MAX_BYTES:
                    raise ValueError(f"{self.name} is larger than {MAX_BYTES // 2**20} MiB")
                return _bounded(self.value.read_bytes(), self.name)
            except OSError as error:
                raise ValueError(f"cannot read the image {self.name}: {error.strerror}") from None
        buffer = io.BytesIO()
        _pillow().fromarray(_squeezed(self.value)).save(buffer, format="PNG")
        return buffer.getvalue()

    def pixels(self, mode: str = "RGB") -> np.ndarray:
        """The pixels, uint8 [H, W, 3] for mode `RGB`, [H, W] for mode `L` (grey).

        Raises `ValueError` for a file that is no image, is broken, or has more than `MAX_PIXELS` pixels.
        """
        pillow = _pillow()
        if isinstance(self.value, np.ndarray):
            array = _squeezed(self.value)
            if array.shape[2:] == {"L": (), "RGB": (3,)}[mode]:
                return array
            return np.asarray(_flat(pillow.fromarray(array), mode))
        with self._open(pillow) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ValueError(f"{self.name} is {width} x {height} pixels; at most {MAX_PIXELS:,} are accepted")
            try:
                return np.asarray(_flat(_upright(image), mode))
            except Exception as error:  # a decoder that meets a broken file may raise anything
                raise self._broken(error) from None

    def _open(self, pillow: Any) -> Any:
        """The file behind the image with its header read, and no pixel decoded."""
        encoded = self.encoded
        try:
            # Filters of warnings belong to the process, so only one thread at a time may change them.
            with _OPENING, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns of big images; our own bound is lower
                return pillow.open(io.BytesIO(encoded), formats=FORMATS)
        except pillow.DecompressionBombError:
            raise ValueError(f"{self.name} has more than {MAX_PIXELS:,} pixels, the most that is accepted") from None
        except pillow.UnidentifiedImageError:
            known = ", ".join(FORMATS)
            raise ValueError(f"{self.name} is no image that can be read; the formats are {known}") from None
        except Exception as error:  # as above
            raise self._broken(error) from None

    def _broken(self, error: Exception) -> ValueError:
        reason = " ".join(str(error).split()) or type(error).__name__
        return ValueError(f"{self.name} is broken: {reason[:120]}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and self.encoded == other.encoded

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Image({self.value if isinstance(self.value, Path) else type(self.value).__name__})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        write = core_schema.plain_serializer_function_ser_schema(
            lambda image: base64.b64encode(image.encoded).decode(), when_used="json"
        )
        return core_schema.json_or_python_schema(
            json_schema=core_schema.no_info_plain_validator_function(cls.of_text),
            python_schema=core_schema.no_info_plain_validator_function(cls.of),
            serialization=write,
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "contentEncoding": "base64", "contentMediaType": cls.mime}


def _checked(array: np.ndarray) -> np.ndarray:
    """The array, if it is an image of uint8 within the bound."""
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4) or not array.size:
        given = f"{array.dtype} {list(array.shape)}"
        raise ValueError(f"an array image is uint8 [H, W] or [H, W, C] with 1, 3 or 4 channels; got {given}")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise ValueError(
            f"the image is {array.shape[1]} x {array.shape[0]} pixels; at most {MAX_PIXELS:,} are accepted"
        )
    return array


def _squeezed(array: np.ndarray) -> np.ndarray:
    """[H, W, 1] as [H, W]."""
    return array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array


def _bounded(content: bytes, name: str = "the image") -> bytes:
    """The bytes, if there are some and not too many."""
    if not content:
        raise ValueError(f"{name} is empty (0 bytes)")
    if len(content) > MAX_BYTES:
        raise ValueError(f"{name} is larger than {MAX_BYTES // 2**20} MiB")
    return content


def _path_of(text: str) -> Path | None:
    """The existing file that the text names, if it does."""
    if len(text) >= 4096 or "\0" in text or text.startswith("data:"):
        return None
    try:
        return Path(text) if Path(text).is_file() else None
    except OSError:  # base64 text is often no possible name of a file
        return None


def _upright(image: Any) -> Any:
    """The first frame, turned as the camera's EXIF note says."""
    from PIL import ImageOps

    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the note is broken, the pixels are not
        return image


def _flat(image: Any, mode: str) -> Any:
    """The image in the mode: over white where it is transparent, 16-bit grey scaled to 8 bits."""
    pillow = _pillow()
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        if int(wide.min()) < 0 or int(wide.max()) > 65535:
            raise ValueError("its values are neither 8 nor 16 bits wide")
        image = pillow.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("it holds floating-point values, which have no white")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = pillow.alpha_composite(pillow.new("RGBA", image.size, "white"), image)
    return image if image.mode == mode else image.convert(mode)


def _pillow() -> Any:
    try:
        import PIL.Image
    except ModuleNotFoundError:
        raise ValueError("images need Pillow: pip install pillow") from None
    return PIL.Image
