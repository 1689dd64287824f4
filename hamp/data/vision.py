"""torchvision's data sets, held at the size they come in (ImageNet: in folders)."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hamp.configuration import blocks
from hamp.data import folders
from hamp.data.source import Description, Source, from_arrays
from hamp.errors import UserError

DIGITS = tuple("0123456789")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# fmt: off
CIFAR100 = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
    "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo",
    "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree",
    "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree",
    "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit",
    "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper",
    "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
    "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe",
    "whale", "willow_tree", "wolf", "woman", "worm",
)
# fmt: on
FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


@dataclass(frozen=True)
class DataSet:
    """How torchvision names a data set and where it keeps its files."""

    name: str
    present: str  # relative to the root; there once the data set has been downloaded
    classes: tuple[str, ...]
    channels: int
    split: Callable[[bool], dict[str, Any]]  # from "is it the training set?" to torchvision's arguments
    targets: str = "targets"


def _train(is_train: bool) -> dict[str, Any]:
    return {"train": is_train}


def _split(is_train: bool) -> dict[str, Any]:
    return {"split": "train" if is_train else "test"}


DATA_SETS = {
    "cifar10": DataSet("CIFAR10", "cifar-10-batches-py", CIFAR10, 3, _train),
    "cifar100": DataSet("CIFAR100", "cifar-100-python", CIFAR100, 3, _train),
    "mnist": DataSet("MNIST", "MNIST/raw", DIGITS, 1, _train),
    "fashion_mnist": DataSet("FashionMNIST", "FashionMNIST/raw", FASHION, 1, _train),
    "svhn": DataSet("SVHN", "train_32x32.mat", DIGITS, 3, _split, "labels"),
}
IMAGENET_CLASSES = 1000
IMAGENET_ARCHIVES = ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz")


def describe(settings: blocks.Data) -> Description:
    """Classes and channels of a data set that is in `root`, or may be downloaded to it."""
    data_set, root = DATA_SETS[settings.source], _root(settings)
    if not settings.download and not (root / data_set.present).exists():
        raise UserError(
            f"data.root: '{root}' has no {data_set.present} (paths are relative to {Path.cwd()}); "
            "set data.download to true, or name the folder that torchvision downloaded to"
        )
    return Description(data_set.classes, data_set.channels)


def load(settings: blocks.Data) -> Source:
    """Training images, followed by the test images."""
    import torchvision.datasets

    description = describe(settings)
    data_set = DATA_SETS[settings.source]
    make = getattr(torchvision.datasets, data_set.name)
    try:
        parts = [
            make(settings.root, download=settings.download, **data_set.split(is_train)) for is_train in (True, False)
        ]
    except (RuntimeError, OSError) as error:
        raise UserError(f"data.root: '{settings.root}': {str(error).splitlines()[0]}") from error
    images = np.concatenate([_channels_first(np.asarray(part.data), settings.source) for part in parts])
    targets = np.concatenate([np.asarray(getattr(part, data_set.targets), np.int64) for part in parts])
    return from_arrays(images, targets, description.classes, len(parts[1]), settings.image_size)


def describe_imagenet(settings: blocks.Data) -> Description:
    """ImageNet 2012 as folders `train` and `val`, one folder a class in each, or as the archives."""
    root = _root(settings)
    if _is_unpacked(root):
        return Description(folders.classes_of(root / "train"), 3)
    if absent := [name for name in IMAGENET_ARCHIVES if not (root / name).is_file()]:
        raise UserError(
            f"data.root: '{root}' has neither the folders train and val (one folder a class in each) nor "
            f"{', '.join(absent)}; ImageNet cannot be downloaded without an account at image-net.org"
        )
    return Description(tuple(map(str, range(IMAGENET_CLASSES))), 3)


def load_imagenet(settings: blocks.Data) -> Source:
    """Training images, followed by the validation images as the test set; archives are unpacked first."""
    root = _root(settings)
    if not _is_unpacked(root):
        describe_imagenet(settings)
        _unpack(root)
    classes = describe_imagenet(settings).classes
    return folders.from_folders(root / "train", root / "val", classes, 3, settings.image_size)


def _unpack(root: Path) -> None:
    """Unpack ImageNet's archives into the folders `train` and `val`, each of which is there whole or not at all."""
    import torchvision.datasets

    place = root / "unpacking"
    try:
        for split in ("train", "val"):
            if not (root / split).is_dir():
                shutil.rmtree(place, ignore_errors=True)  # of an attempt that was killed
                place.mkdir()
                for name in IMAGENET_ARCHIVES:
                    (place / name).symlink_to((root / name).resolve())
                torchvision.datasets.ImageNet(place, split=split)
                (place / split).rename(root / split)
                shutil.rmtree(place)
    except OSError as error:
        raise UserError(
            f"data.root: '{root}': the archives cannot be unpacked there ({error}); make room, or unpack them into "
            "folders train and val elsewhere"
        ) from error


def _root(settings: blocks.Data) -> Path:
    assert settings.root is not None
    return Path(settings.root)


def _is_unpacked(root: Path) -> bool:
    return (root / "train").is_dir() and (root / "val").is_dir()


def _channels_first(images: np.ndarray, source: str) -> np.ndarray:
    if images.ndim == 3:
        return images[:, None]
    return images if source == "svhn" else images.transpose(0, 3, 1, 2)
