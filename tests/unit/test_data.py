"""Data sources, splits and the file of images."""

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hamp.configuration import blocks
from hamp.data import sources, vision
from hamp.data.ahead import ahead
from hamp.data.decode import channels_of, decode
from hamp.data.images import open_split
from hamp.data.prepare import prepare
from hamp.data.source import Source
from hamp.data.split import split
from hamp.errors import UserError

SHARED = Path(__file__).parents[2] / ".." / "shared"


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "png")
    return buffer.getvalue()


def pictures(count: int, size: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def write_parquet(path: Path, images: list[bytes], labels: list[int], metadata: dict[str, str] | None = None) -> None:
    table = pa.table({"image": pa.array(images, pa.binary()), "label": pa.array(labels, pa.int16())})
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=7)


def source_of(labels: np.ndarray, n_test: int = 0) -> Source:
    return Source(labels, tuple(map(str, range(int(labels.max()) + 1))), 1, n_test, lambda rows: iter(()))


@given(
    labels=st.lists(st.integers(0, 4), min_size=20, max_size=300),
    own_test=st.booleans(),
    limit=st.none() | st.integers(12, 400),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60)
def test_splits_share_out_each_class(labels: list[int], own_test: bool, limit: int | None, seed: int) -> None:
    labels = np.array(labels)
    n_test = 6 if own_test else 0
    source = source_of(labels, n_test)
    chosen = blocks.Data(validation_fraction=0.25, test_fraction=0.2, limit=limit)
    table = split(source, chosen, seed)
    index = table["index"].to_numpy()
    names = np.array(table["split"].to_pylist())
    assert (np.diff(index) > 0).all()
    assert (table["label"].to_numpy() == labels[index]).all()
    assert len(index) == sum(min(part, limit or part) for part in (len(labels) - n_test, n_test))
    if own_test:
        assert ((index >= len(labels) - n_test) == (names == "test")).all()
    training = names != "test"
    for label in range(5):
        share = (labels[index[training]] == label).sum() * (names == "validation").sum() / training.sum()
        assert abs((labels[index[names == "validation"]] == label).sum() - share) <= 1
    assert table.equals(split(source, chosen, seed))


def test_another_seed_gives_another_split() -> None:
    source = source_of(np.arange(200) % 10)
    assert not split(source, blocks.Data(), 0).equals(split(source, blocks.Data(), 1))


def test_a_split_without_an_image_is_told() -> None:
    with pytest.raises(UserError, match="no image is left for the test split"):
        split(source_of(np.arange(10) % 2), blocks.Data(test_fraction=0.01), 0)


def test_digits_are_those_of_scikit_learn(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    for name in ("a", "b"):
        prepare(blocks.Data(image_size=8), 0, tmp_path / f"{name}.safetensors", tmp_path / f"{name}.parquet")
    files = [(tmp_path / f"{name}.safetensors").read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]
    digits = load_digits()
    index = pq.read_table(tmp_path / "a.parquet")
    total = 0
    for name in ("train", "validation", "test"):
        images = open_split(tmp_path / "a.safetensors", tmp_path / "a.parquet", name)
        rows = index["index"].to_numpy()[np.array(index["split"].to_pylist()) == name]
        assert np.allclose(images.images[:, 0].numpy() / 255 * 16, digits.images[rows], atol=0.04)
        assert (images.targets.numpy() == digits.target[rows]).all()
        total += len(images)
    assert total == 1797


def test_training_images_are_normalised(tmp_path: Path) -> None:
    prepare(blocks.Data(), 0, tmp_path / "i.safetensors", tmp_path / "s.parquet")
    train = open_split(tmp_path / "i.safetensors", tmp_path / "s.parquet", "train")
    normalised = train.normalised(train.images)
    assert train.images.shape[1:] == (1, 32, 32)
    assert abs(float(normalised.mean())) < 1e-4
    assert abs(float(normalised.std()) - 1) < 1e-4
    given = blocks.Data(mean=[0.5], std=[0.25])
    prepare(given, 0, tmp_path / "g.safetensors", tmp_path / "s.parquet")
    train = open_split(tmp_path / "g.safetensors", tmp_path / "s.parquet", "train")
    assert (train.mean.tolist(), train.std.tolist()) == ([0.5], [0.25])
    with pytest.raises(UserError, match=r"data.mean: 3 values, but the images have 1 channels"):
        prepare(blocks.Data(mean=[0, 0, 0]), 0, tmp_path / "x.safetensors", tmp_path / "x.parquet")


def test_parquet_images_are_read_as_they_are(tmp_path: Path) -> None:
    train, test = pictures(40), pictures(10, seed=1)
    write_parquet(
        tmp_path / "train.parquet",
        [png(p) for p in train],
        [i % 4 for i in range(40)],
        {"classes": "a,b,c,d"},
    )
    write_parquet(tmp_path / "test.parquet", [png(p) for p in test], [i % 4 for i in range(10)])
    chosen = blocks.Data(source="parquet", root=str(tmp_path), image_size=8)
    description = sources.describe(chosen)
    assert description is not None
    assert (description.classes, description.channels) == (("a", "b", "c", "d"), 3)
    prepare(chosen, 0, tmp_path / "i.safetensors", tmp_path / "s.parquet")
    found = open_split(tmp_path / "i.safetensors", tmp_path / "s.parquet", "test")
    assert (found.images.permute(0, 2, 3, 1).numpy() == test).all()
    assert found.classes == ("a", "b", "c", "d")
    limited = sources.load(chosen)
    rows = np.array([0, 3, 8, 20, 39, 40, 45])
    both = np.concatenate([train, test])[rows].transpose(0, 3, 1, 2)
    assert (np.concatenate(list(limited.chunks(rows))) == both).all()


def test_faults_in_parquet_images_name_file_column_and_row(tmp_path: Path) -> None:
    chosen = blocks.Data(source="parquet", root=str(tmp_path), image_size=8)
    with pytest.raises(UserError, match=r"has no train\.parquet"):
        sources.describe(chosen)
    images = [png(p) for p in pictures(20)]
    images[13] = b"not an image"
    write_parquet(tmp_path / "train.parquet", images, [i % 2 for i in range(20)])
    with pytest.raises(UserError, match=r"train\.parquet: column 'image', row 13"):
        prepare(chosen, 0, tmp_path / "i.safetensors", tmp_path / "s.parquet")
    assert not (tmp_path / "i.safetensors").exists()
    assert not list(tmp_path.glob(".*.part"))
    write_parquet(tmp_path / "train.parquet", images, [0, -1] * 10)
    with pytest.raises(UserError, match=r"column 'label', row 1: -1"):
        sources.load(chosen)


def test_image_folders(tmp_path: Path) -> None:
    for part, count in (("train", 6), ("val", 2)):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for i, picture in enumerate(pictures(count, 12)):
                Image.fromarray(picture).save(tmp_path / part / name / f"{i}.png")
    chosen = blocks.Data(source="image_folder", root=str(tmp_path), image_size=12)
    source = sources.load(chosen)
    assert (source.classes, source.n_test, source.channels) == (("cat", "dog"), 4, 3)
    assert source.targets.tolist() == [0] * 6 + [1] * 6 + [0, 0, 1, 1]
    assert (next(source.chunks(np.array([7])))[0] == pictures(6, 12)[1].transpose(2, 0, 1)).all()
    whole = sources.load(blocks.Data(source="image_folder", root=str(tmp_path / "train"), image_size=8))
    assert whole.n_test == 0
    assert next(whole.chunks(np.array([0, 1]))).shape == (2, 3, 8, 8)


def saved(path: Path, image: Image.Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def decoded(path: Path, channels: int) -> np.ndarray:
    """The image at its own size (it is square), or what it is told that is wrong."""
    with Image.open(path) as image:
        size = image.width
    return decode([path], size, channels, [str(path)])[0]


@pytest.mark.parametrize("name", ["i.png", "i.tif", "i.pgm"])
def test_sixteen_bits_are_scaled(tmp_path: Path, name: str) -> None:
    deep = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    path = saved(tmp_path / name, Image.fromarray(deep))
    assert channels_of([path], [name]) == 1
    assert (decoded(path, 1)[0] == deep >> 8).all()
    assert (decoded(path, 3) == deep >> 8).all()


def test_transparent_is_white(tmp_path: Path) -> None:
    shape = pictures(1)[0, :, :, 0] > 127
    glyph = np.zeros((8, 8, 4), np.uint8)
    glyph[:, :, 3] = 255 * shape
    grey = Image.fromarray(glyph[:, :, 2:], "LA")
    palette = Image.fromarray(shape.astype(np.uint8), "P")
    palette.putpalette([0, 0, 0] * 2)
    palette.info["transparency"] = 0
    for index, (image, channels) in enumerate(((Image.fromarray(glyph), 3), (grey, 1), (palette, 3))):
        path = saved(tmp_path / f"{index}.png", image)
        assert channels_of([path], [""]) == channels
        for asked in (1, 3):
            assert (decoded(path, asked) == np.where(shape, 0, 255)).all()


def test_images_that_cannot_be_decoded_are_told_in_one_line(tmp_path: Path) -> None:
    numbers = saved(tmp_path / "f.tif", Image.fromarray(np.zeros((8, 8), np.float32)))
    with pytest.raises(UserError, match=r"f\.tif: .*floating-point"):
        decoded(numbers, 1)
    labels = saved(tmp_path / "i.tif", Image.fromarray(np.full((8, 8), 200, np.int32)))
    with pytest.raises(UserError, match=r"i\.tif: .*32-bit integers"):
        decoded(labels, 1)
    for name, content in {
        "a.ppm": b"P6\n8 x 255\n",
        "b.ppm": b"P6\n8 8 0\n",
        "c.png": b"",
        "d.png": png(pictures(1)[0])[:90],
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name) as caught:
            decode([tmp_path / name], 8, 3, [name])
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("form", ["image_folder", "parquet"])
def test_a_stray_grey_image_does_not_make_the_data_grey(tmp_path: Path, form: str) -> None:
    stray = png(pictures(1)[0, :, :, 0])
    for count, channels in ((0, 1), (19, 3)):
        images = [stray, *map(png, pictures(count)), stray]
        root = tmp_path / str(count)
        (root / "a").mkdir(parents=True)
        (root / "b").mkdir()
        write_parquet(root / "train.parquet", images, [i % 2 for i in range(len(images))])
        for i, image in enumerate(images):
            (root / "ab"[i % 2] / f"{i:02}.png").write_bytes(image)
        chosen = blocks.Data(source=form, root=str(root), image_size=8)
        assert sources.describe(chosen).channels == channels
        assert next(sources.load(chosen).chunks(np.arange(1))).shape[1] == channels


def test_images_are_made_grey_or_colour(tmp_path: Path) -> None:
    colour = pictures(20)
    write_parquet(tmp_path / "train.parquet", [png(p) for p in colour], [i % 2 for i in range(20)])
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def rgb():\n    return np.load(__file__[:-7] + 'rgb.npy'), np.arange(20) % 2\n"
        "def two():\n    return np.zeros((20, 2, 8, 8), np.uint8), np.arange(20) % 2\n"
    )
    np.save(tmp_path / "rgb.npy", colour.transpose(0, 3, 1, 2))
    grey = np.stack([np.asarray(Image.fromarray(picture).convert("L")) for picture in colour])
    for source in ("parquet", f"{tmp_path}/mine.py:rgb"):
        chosen = blocks.Data(source=source, root=str(tmp_path), image_size=8, channels=1)
        assert sources.describe(chosen).channels == 1
        assert (next(sources.load(chosen).chunks(np.arange(20)))[:, 0] == grey).all()
    digits = blocks.Data(image_size=8, channels=3)
    assert sources.describe(digits).channels == 3
    prepare(digits, 0, tmp_path / "i.safetensors", tmp_path / "s.parquet")
    images = open_split(tmp_path / "i.safetensors", tmp_path / "s.parquet", "test").images
    assert images.shape[1] == 3
    assert (images == images[:, :1]).all()
    with pytest.raises(UserError, match=r"data\.channels: 3, but the images have 2 channels"):
        sources.describe(blocks.Data(source=f"{tmp_path}/mine.py:two", image_size=8, channels=3))


def test_folders_without_images_and_hidden_ones_are_no_classes(tmp_path: Path) -> None:
    image = Image.fromarray(pictures(1)[0])
    for part in ("Train", "Test"):
        for name in ("cat", "dog", ".ipynb_checkpoints", "cat/.ipynb_checkpoints"):
            saved(tmp_path / part / name / "0.png", image)
        (tmp_path / part / "dog" / "._0.png").write_bytes(b"of a file manager")
        (tmp_path / part / "notes").mkdir()
    source = sources.load(blocks.Data(source="image_folder", root=str(tmp_path), image_size=8))
    assert (source.classes, source.n_test) == (("cat", "dog"), 2)
    assert source.targets.tolist() == [0, 1, 0, 1]
    with pytest.raises(UserError, match=r"cat' must hold one folder a class, at least 2, with images .*; it has 0"):
        sources.describe(blocks.Data(source="image_folder", root=str(tmp_path / "Train" / "cat"), image_size=8))


def test_torchvision_files_are_read(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    pixels = {
        "train": rng.integers(0, 256, (30, 28, 28), np.uint8),
        "t10k": rng.integers(0, 256, (9, 28, 28), np.uint8),
    }
    for part, images in pixels.items():
        sizes = b"".join(n.to_bytes(4, "big") for n in images.shape)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + sizes + images.tobytes())
        labels = (np.arange(len(images)) % 10).astype(np.uint8)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(
            b"\0\0\x08\x01" + len(images).to_bytes(4, "big") + labels.tobytes()
        )
    source = sources.load(blocks.Data(source="mnist", root=str(tmp_path), image_size=28))
    assert source.n_test == 9
    assert source.targets[31] == 1
    assert (next(source.chunks(np.array([2, 31])))[:, 0] == np.stack([pixels["train"][2], pixels["t10k"][1]])).all()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"source": "cifar1O"}, "did you mean 'cifar10'"),
        ({"source": "cifar10"}, "data.root"),
        ({"source": "cifar10", "root": "/nowhere"}, "set data.download to true"),
        ({"source": "imagenet", "root": "/nowhere"}, "cannot be downloaded"),
        ({"source": "image_folder", "root": "/nowhere"}, "there is no folder '/nowhere'"),
        ({"source": "nowhere.py:images"}, "there is no file nowhere.py"),
    ],
)
def test_mistakes_are_told_at_once(chosen: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        sources.describe(blocks.Data(**chosen))


def test_an_unpacking_that_was_killed_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ImageNet's archives unpack in an hour; a folder with some of its classes must not pass for all."""
    for name in vision.IMAGENET_ARCHIVES:
        (tmp_path / name).write_text("archive")
    kills = {"train": 1, "val": 1}

    def unpack(root: Path, split: str) -> None:
        assert (Path(root) / vision.IMAGENET_ARCHIVES[0]).read_text() == "archive"
        for number, name in enumerate(("first", "second")):
            (folder := Path(root) / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(folder / "image.png")
            if number == 0 and kills[split]:
                kills[split] -= 1
                raise KeyboardInterrupt

    monkeypatch.setattr("torchvision.datasets.ImageNet", unpack)
    settings = blocks.Data(source="imagenet", root=str(tmp_path), image_size=8)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            sources.load(settings)
    source = sources.load(settings)
    assert (source.classes, len(source.targets), source.n_test) == (("first", "second"), 4, 2)
    assert {path.name for path in tmp_path.iterdir()} == {"train", "val", *vision.IMAGENET_ARCHIVES}


def test_a_channel_that_is_the_same_everywhere_is_not_divided_by_nothing(tmp_path: Path) -> None:
    (tmp_path / "opaque.py").write_text(
        "import numpy as np\n"
        "def opaque(image_size):\n"
        "    images = np.random.default_rng(0).integers(0, 256, (40, 4, 8, 8), dtype=np.uint8)\n"
        "    images[:, 3] = 255\n"
        "    return images, np.arange(40) % 2\n"
    )
    chosen = blocks.Data(source=f"{tmp_path}/opaque.py:opaque", image_size=8)
    prepare(chosen, 0, tmp_path / "i.safetensors", tmp_path / "s.parquet")
    train = open_split(tmp_path / "i.safetensors", tmp_path / "s.parquet", "train")
    assert train.mean[3] == train.std[3] == 1
    pixels = train.images.numpy() / 255
    np.testing.assert_allclose(train.mean, pixels.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(train.std[:3], pixels.std((0, 2, 3))[:3], rtol=1e-6)


def test_own_data(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def boxes(image_size):\n"
        "    images = np.zeros((20, 2, image_size, image_size), np.uint8)\n"
        "    return images, np.arange(80.0).reshape(20, 4)\n"
        "def wrong():\n"
        "    return np.zeros((20, 8, 8)), np.zeros(20)\n"
    )
    chosen = blocks.Data(source=f"{tmp_path}/mine.py:boxes", image_size=16)
    prepare(chosen, 0, tmp_path / "i.safetensors", tmp_path / "s.parquet")
    test = open_split(tmp_path / "i.safetensors", tmp_path / "s.parquet", "test")
    assert test.classes == ()
    assert test.targets.shape == (4, 4)
    rows = pq.read_table(tmp_path / "s.parquet").filter(pa.compute.field("split") == "test")["index"].to_numpy()
    assert (test.targets[:, 0].numpy() == rows * 4).all()
    with pytest.raises(UserError, match="images must be uint8"):
        sources.load(blocks.Data(source=f"{tmp_path}/mine.py:wrong"))
    with pytest.raises(UserError, match="did you mean 'boxes'"):
        sources.load(blocks.Data(source=f"{tmp_path}/mine.py:box"))


OWN = """
import numpy as np
def of(targets, images=np.zeros((20, 1, 8, 8), np.uint8)):
    return lambda: (images, targets)
masks = np.arange(20 * 64).reshape(20, 8, 8) % 3
bools, bits = of(masks > 0), of(masks[:, 0, 0] > 0)
bytes_, ints = of(masks.astype(np.uint8)), of(masks.astype(np.int32))
negative, text, single = of(np.arange(20) - 1), of(np.array(["cat"] * 20)), of(np.int64(3))
empty, ragged = of(np.zeros(0, int), np.zeros((0, 1, 8, 8), np.uint8)), of([[1], [2, 3]] * 10)
def unequal():
    return *of(np.arange(20))(), np.zeros((5, 1, 9, 9), np.uint8), np.arange(5)
def broken():
    return imagse
"""


@pytest.mark.parametrize(
    ("name", "kind", "classes"),
    [("bools", np.uint8, 0), ("bytes_", np.uint8, 0), ("ints", np.int64, 0), ("bits", np.int64, 2)],
)
def test_own_targets_of_any_integers(tmp_path: Path, name: str, kind: type, classes: int) -> None:
    (tmp_path / "own.py").write_text(OWN)
    chosen = blocks.Data(source=f"{tmp_path}/own.py:{name}", image_size=8)
    source = sources.load(chosen)
    assert (source.targets.dtype, len(source.classes)) == (kind, classes)
    prepare(chosen, 0, tmp_path / "i.safetensors", tmp_path / "s.parquet")
    test = open_split(tmp_path / "i.safetensors", tmp_path / "s.parquet", "test")
    rows = pq.read_table(tmp_path / "s.parquet").filter(pa.compute.field("split") == "test")["index"].to_numpy()
    assert (test.targets.numpy() == source.targets[rows]).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("negative", "gave image 0 the class -1"),
        ("text", "targets of type <U3"),
        ("single", "and 0 targets"),
        ("empty", r"images of shape \(0, 1, 8, 8\)"),
        ("ragged", "gave what is no array"),
        ("unequal", r"gave \(1, 8, 8\) to train on and \(1, 9, 9\) to test on"),
        ("broken", r"own\.py:broken' raised NameError in line 13: name 'imagse' is not defined"),
    ],
)
def test_faults_of_own_data_are_told(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(UserError, match=message) as caught:
        sources.describe(blocks.Data(source=f"{tmp_path}/own.py:{name}", image_size=8))
    assert len(str(caught.value).splitlines()) == 1


def test_files_that_do_not_belong_together_are_told(tmp_path: Path) -> None:
    prepare(blocks.Data(image_size=8), 0, tmp_path / "i.safetensors", tmp_path / "s.parquet")
    prepare(blocks.Data(image_size=8, limit=200), 0, tmp_path / "j.safetensors", tmp_path / "t.parquet")
    with pytest.raises(UserError, match="delete both"):
        open_split(tmp_path / "i.safetensors", tmp_path / "t.parquet", "test")
    (tmp_path / "j.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"j\.safetensors: not a file of the data stage"):
        open_split(tmp_path / "j.safetensors", tmp_path / "t.parquet", "test")


def test_describing_imports_nothing_heavy() -> None:
    code = (
        "import json, sys; from hamp.configuration import blocks; from hamp.data import sources;"
        "sources.describe(blocks.Data()); print(json.dumps(sorted(sys.modules)))"
    )
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert not {"torch", "sklearn", "torchvision", "PIL.Image"} & set(loaded)


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared, which is not part of the project")
def test_described_as_the_shared_images_are() -> None:
    chosen = blocks.Data(source="parquet", root=str(SHARED / "data" / "cifar10-jpeg"))
    description = sources.describe(chosen)
    assert description is not None
    assert description.channels == 3
    assert description.classes[0] == "airplane"
    assert len(description.classes) == 10


def test_what_is_made_ahead_is_the_same_and_made_while_the_item_before_is_used():
    made = []

    def items():
        for number in range(4):
            made.append(number)
            yield number
        raise UserError("an image cannot be read")

    ones = ahead(items())
    for wanted in range(4):
        assert next(ones) == wanted
        end = time.monotonic() + 5
        while wanted < 3 and made[-1] == wanted and time.monotonic() < end:
            time.sleep(0.001)
        assert made[-1] == min(wanted + 1, 3)
    with pytest.raises(UserError, match="cannot be read"):
        next(ones)
