"""From encoded or differently sized images to uint8 arrays of one size."""

import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from hamp.errors import UserError, one_line

Encoded = bytes | Path
GREY = ("1", "L", "LA", "La", "I", "F")
"""Modes of Pillow, without what comes after a semicolon: the order of bytes."""


def channels_of(encoded: Iterable[Encoded], names: Iterable[str]) -> int:
    """1 if all of the images are grey, else 3; only their headers are read.

    Raises:
        UserError: one is no image.
    """
    return max(_channels(content, name) for content, name in zip(encoded, names, strict=True))


def decode(encoded: Iterable[Encoded], size: int, channels: int, names: Iterable[str]) -> np.ndarray:
    """Decode images in threads: uint8 (n, channels, size, size).

    The shorter side is scaled to `size` and the centre is taken; what is transparent becomes white; of 16 bits a
    pixel the upper eight are taken; `names` are those of the images in an error.

    Raises:
        UserError: an image cannot be decoded.
    """
    mode = "L" if channels == 1 else "RGB"

    def one(content: Encoded, name: str) -> np.ndarray:
        with _opened(content, name) as image:
            try:
                return np.asarray(_fit(_opaque(image).convert(mode), size))
            except Exception as error:  # of what kind depends on the format
                raise UserError(f"{name}: the image cannot be decoded ({_told(error)})") from error

    # Pillow releases the interpreter's lock while it decodes and resizes.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        decoded = list(pool.map(one, encoded, names))
    stacked = np.stack(decoded)
    return stacked[:, None] if channels == 1 else np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Images uint8 (n, channels, height, width) at `size` pixels a side, bilinear."""
    if images.shape[2:] == (size, size):
        return images
    planes = images.reshape(-1, *images.shape[2:])
    resized = np.stack([np.asarray(_fit(Image.fromarray(plane), size)) for plane in planes])
    return resized.reshape(*images.shape[:2], size, size)


def _fit(image: Image.Image, size: int) -> Image.Image:
    if image.size == (size, size):
        return image
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def _channels(encoded: Encoded, name: str) -> int:
    with _opened(encoded, name) as image:
        return 1 if image.mode.partition(";")[0] in GREY else 3


def _opaque(image: Image.Image) -> Image.Image:
    """The image with 8 bits a channel and nothing transparent."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits a channel")
    if image.mode == "I" and image.format == "TIFF":  # as scientific programs write labels: of any range
        raise ValueError("its pixels are 32-bit integers; save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):
        # Pillow would make all above 255 white.
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        # Under what is transparent lies anything, often the colour of what is not.
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image


def _opened(encoded: Encoded, name: str) -> Image.Image:
    try:
        return Image.open(encoded if isinstance(encoded, Path) else io.BytesIO(encoded))
    except Exception as error:  # of what kind depends on the format
        raise UserError(f"{name}: not an image that Pillow can read ({_told(error)})") from error


def _told(error: Exception) -> str:
    return one_line(error) or type(error).__name__
