"""Images as the stages see them: one split of the file that the `data` stage wrote, mapped, not loaded."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hamp import tables
from hamp.errors import UserError


@dataclass(frozen=True)
class ImageSet:
    """Some rows of a mapped tensor of images; only the rows that are asked for are read.

    Attributes:
        pixels: uint8 (all, channels, height, width), of every split.
        rows: int64 (n,), the rows of `pixels` that belong here.
        targets: (n, ...), those of `rows`.
        mean, std: float32 (channels,), of pixels in [0, 1].
        classes: names; empty where the targets are not classes.
    """

    pixels: Tensor
    rows: Tensor
    targets: Tensor
    mean: Tensor
    std: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def images(self) -> Tensor:
        """All images here, uint8 (n, channels, height, width), copied into memory."""
        return self.pixels[self.rows]

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Images (uint8) and targets at `positions` (int64, from 0 to n - 1)."""
        return self.pixels[self.rows[positions]], self.targets[positions]

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (uint8) and targets in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.pixels[self.rows[start : start + size]], self.targets[start : start + size]

    def first(self, count: int) -> "ImageSet":
        """At most the first `count` images, as examples. In many data sets they are of one class: see `drawn`."""
        return replace(self, rows=self.rows[:count], targets=self.targets[:count])

    def drawn(self, count: int | None, seed: int) -> "ImageSet":
        """At most `count` images, drawn at random and left in their order; None: all."""
        if count is None or count >= len(self):
            return self
        positions = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:count].sort().values
        return replace(self, rows=self.rows[positions], targets=self.targets[positions])

    def normalised(self, images: Tensor) -> Tensor:
        """float32 images of mean 0 and standard deviation 1, from uint8, where `images` is."""
        shape = (1, -1, 1, 1)
        scaled = images.to(torch.float32, memory_format=torch.channels_last).div_(255)
        return scaled.sub_(self.mean.to(images.device).view(shape)).div_(self.std.to(images.device).view(shape))


def open_split(images: Path | str, splits: Path | str, split: str) -> ImageSet:
    """One split (`train`, `validation` or `test`) of the images that the `data` stage wrote.

    Raises:
        UserError: a file is absent or damaged, the two do not belong together, or the split is empty.
    """
    table = tables.read(splits, tables.SPLITS)
    try:
        with safe_open(str(images), "pt") as file:
            pixels, targets = file.get_tensor("images"), file.get_tensor("targets")
            mean, std = file.get_tensor("mean"), file.get_tensor("std")
            classes = tuple(json.loads(file.metadata()["classes"]))
    except FileNotFoundError:
        raise UserError(f"{images}: no such file; run the data stage, which makes it") from None
    except (SafetensorError, KeyError) as error:
        raise UserError(f"{images}: not a file of the data stage ({error}); delete it and run again") from None
    if len(table) != len(pixels):
        raise UserError(
            f"{splits} has {len(table)} rows, but {images} has {len(pixels)} images; delete both, run again"
        )
    rows = torch.tensor([row for row, name in enumerate(table["split"].to_pylist()) if name == split])
    if not len(rows):
        raise UserError(f"{splits}: no row of split '{split}' (train, validation or test)")
    # The small tensors are copied: a view into a mapped file may be unaligned.
    return ImageSet(pixels, rows, targets.clone()[rows], mean.clone(), std.clone(), classes)
