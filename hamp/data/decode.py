"""From encoded or differently sized images to uint8 arrays of one size."""

import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from hamp.errors import UserError

Encoded = bytes | Path


def channels_of(encoded: Encoded) -> int:
    """1 for a grey image, else 3; only the header is read."""
    with _opened(encoded, str(encoded) if isinstance(encoded, Path) else "the first image") as image:
        return 1 if image.mode in ("L", "1", "I", "I;16") else 3


def decode(encoded: Iterable[Encoded], size: int, channels: int, names: Iterable[str]) -> np.ndarray:
    """Decode images in threads: uint8 (n, channels, size, size).

    The shorter side is scaled to `size` and the centre is taken; `names` are those of the images in an error.

    Raises:
        UserError: an image cannot be decoded.
    """
    mode = "L" if channels == 1 else "RGB"

    def one(content: Encoded, name: str) -> np.ndarray:
        with _opened(content, name) as image:
            try:
                return np.asarray(_fit(image.convert(mode), size))
            except OSError as error:
                raise UserError(f"{name}: the image is damaged ({error})") from None

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


def _opened(encoded: Encoded, name: str) -> Image.Image:
    try:
        return Image.open(encoded if isinstance(encoded, Path) else io.BytesIO(encoded))
    except (UnidentifiedImageError, OSError, TypeError) as error:
        raise UserError(f"{name}: not an image that Pillow can read ({error})") from None
