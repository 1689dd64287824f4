"""Networks by name and their weights."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from hamp import callables
from hamp.callables import file_of, files_of
from hamp.configuration import blocks
from hamp.errors import UserError
from hamp.models import names
from hamp.models.build import NETWORKS, build
from hamp.models.normalised import Normalised
from hamp.models.weights import load_weights, save_weights

SHARED = Path(__file__).parents[2] / ".." / "shared"


def network(name: str, **arguments: object) -> nn.Module:
    torch.manual_seed(0)
    return build(blocks.Network(name=name, arguments=arguments), 10, 3)


def test_own_files_may_import_what_is_beside_them(tmp_path: Path) -> None:
    files = {
        "beside_net.py": "import torch\nfrom beside_layers import head\ndef make(classes): return head(classes)",
        "beside_layers.py": "import beside_parts.deep\nfrom torch import nn\nhead = beside_parts.deep.linear",
        "beside_parts/__init__.py": "",
        "beside_parts/deep.py": "from torch import nn\ndef linear(classes): return nn.Linear(3, classes)",
        "unused.py": "",
        "torch.py": "raise AssertionError('stands in for the library')",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    model = network(f"{tmp_path}/beside_net.py:make")
    assert isinstance(model, nn.Linear)
    found = {str(file.relative_to(tmp_path)) for file in files_of(tmp_path / "beside_net.py")}
    assert found == set(files) - {"unused.py"}


def test_own_files_come_in_one_order_in_every_process(tmp_path: Path) -> None:
    """Rules hold their digests, and a rule whose parameters differ runs again."""
    for name in "abcdef":
        (tmp_path / f"order_{name}.py").touch()
    (tmp_path / "order_net.py").write_text("".join(f"import order_{name}\n" for name in "fbdace"))
    program = "import sys, pathlib; from hamp.callables import files_of; print(files_of(pathlib.Path(sys.argv[1])))"
    told = {
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "order_net.py")],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in range(3)
    }
    assert len(told) == 1


def test_the_names_are_the_networks() -> None:
    assert tuple(NETWORKS) == names.BUILT_IN


@pytest.mark.parametrize(
    ("name", "parameters"),
    # The published counts (table 6 of the ResNet paper: 0.27, 0.46, 0.66, 0.85, 1.7 million).
    [
        ("resnet20", 269722),
        ("resnet32", 464154),
        ("resnet44", 658586),
        ("resnet56", 853018),
        ("resnet110", 1727962),
    ],
)
def test_cifar_resnets_have_the_published_size(name: str, parameters: int) -> None:
    model = network(name)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer3.2.bn2.bias", "linear.bias"} <= set(
        model.state_dict()
    )


@pytest.mark.parametrize("name", ["resnet_small", "resnet20", "vgg16_bn_small", "mobilenet_v1_small"])
@pytest.mark.parametrize("channels", [1, 3])
def test_built_in_networks_take_any_channels(name: str, channels: int) -> None:
    model = build(blocks.Network(name=name), 7, channels).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, channels, 32, 32)).shape == (2, 7)


def test_torchvision_networks() -> None:
    model = network("torchvision:mobilenet_v2").eval()
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 10)
    with pytest.raises(UserError, match="did you mean 'torchvision:resnet50'"):
        network("torchvision:resnet5O")
    with pytest.raises(UserError, match=r"takes images of 3 channels; the data has 1; set data\.channels to 3"):
        build(blocks.Network(name="torchvision:resnet18"), 10, 1)


def test_torchvision_functions_are_asked_for_what_they_name() -> None:
    assert network("torchvision.models:resnet18", num_classes=7).fc.out_features == 7


@pytest.mark.parametrize(
    ("name", "aux"), [("googlenet", "aux1.conv.conv.weight"), ("inception_v3", "AuxLogits.fc.bias")]
)
def test_second_outputs_are_left_out(tmp_path: Path, name: str, aux: str) -> None:
    model = network(f"torchvision:{name}")
    torch.save({**model.state_dict(), aux: torch.zeros(3)}, tmp_path / "w.pth")
    with pytest.warns(UserWarning, match="torchvision's own weights; those need .*transform_input: true"):
        load_weights(model, tmp_path / "w.pth")
    model.transform_input = True
    load_weights(model, tmp_path / "w.pth")
    torch.save({**model.state_dict(), "aux3.bias": torch.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"unexpected aux3\.bias"):
        load_weights(model, tmp_path / "w.pth")
    own = nn.ModuleDict({"aux1": nn.Linear(2, 2)})
    with pytest.raises(UserError, match=r"missing aux1\.weight"):
        load_weights(own, tmp_path / "w.pth")


def test_files_beside_two_of_ones_own_may_not_have_one_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}_net.py").write_text("from shared_name import make")
        (tmp_path / name / "shared_name.py").write_text(f"def make(): return {name!r}")
        (tmp_path / name / f"{name}_far.py").write_text(f"from {name}_net import make")
    assert callables.load(f"{tmp_path}/one/one_net.py:make", "network.name")() == "one"
    with pytest.raises(UserError, match=r"its 'shared_name' is not that beside it, but .*/one/shared_name\.py"):
        callables.load(f"{tmp_path}/two/two_net.py:make", "task")
    with pytest.raises(UserError, match=r"its 'shared_name' is not that beside it"):
        callables.load(f"{tmp_path}/two/two_far.py:make", "task")


def test_own_networks(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "from torch import nn\n"
        "def tiny(classes, width=4):\n"
        "    return nn.Sequential(nn.Conv2d(3, width, 3), nn.Flatten(), nn.Linear(4, classes))\n"
        "def nothing():\n    return 3\n"
        "def lazy():\n    return nn.Sequential(nn.LazyConv2d(4, 3))\n"
        "def wrong():\n    return nn.Conv2d(chanels, 4, 3)\n"
        "def wide(**arguments):\n    return tiny(**arguments)\n"
    )
    assert network(f"{file}:tiny", width=5)[0].out_channels == 5
    assert network("torch.nn:Conv2d", in_channels=1, out_channels=2, kernel_size=3).out_channels == 2
    assert network(f"{file}:wide", classes=4)[2].out_features == 4
    assert file_of(f"{file}:tiny") == file
    assert file_of("torch.nn:Conv2d") is None
    assert file_of("resnet20") is None
    with pytest.raises(UserError, match="gave a int, not a torch"):
        network(f"{file}:nothing")
    with pytest.raises(UserError, match=r"own\.py:lazy': 0\.weight has no shape yet"):
        network(f"{file}:lazy")
    with pytest.raises(UserError, match=r"own\.py:wrong' raised NameError in line 9: name 'chanels' is not defined$"):
        network(f"{file}:wrong")
    with pytest.raises(UserError, match=r"network.arguments: \{'depth': 3\} do not fit"):
        network(f"{file}:tiny", depth=3)
    broken = tmp_path / "broken.py"
    broken.write_text("import nowhere_at_all\n")
    with pytest.raises(UserError, match="cannot be imported: ModuleNotFoundError"):
        network(f"{broken}:tiny")


def test_unknown_names_are_told_without_torch() -> None:
    with pytest.raises(UserError, match="did you mean 'resnet56'"):
        names.check(blocks.Network(name="resnet65"))
    with pytest.raises(UserError, match=r"there is no file 'w\.pt'"):
        names.check(blocks.Network(weights="w.pt"))
    code = "import sys, hamp.models.names; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".th", ".safetensors"])
def test_weights_come_back(tmp_path: Path, suffix: str) -> None:
    model, other = network("resnet20"), build(blocks.Network(name="resnet20"), 10, 3)
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        save_weights(model, path, {"b": "1", "a": "2"})
    else:
        state = {f"module.{key}": value for key, value in model.state_dict().items() if "batches" not in key}
        torch.save({"state_dict": state, "epoch": 3}, path)
    load_weights(other, path)
    for one, two in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(one, two)


def test_a_network_may_call_a_part_of_it_module(tmp_path: Path) -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(3, 2)

    model, other = Wrapped(), Wrapped()
    save_weights(model, tmp_path / "w.safetensors")
    load_weights(other, tmp_path / "w.safetensors")
    assert torch.equal(other.module.weight, model.module.weight)


@pytest.mark.parametrize("prefix", ["module._orig_mod.", "_orig_mod.module.", "module.module."])
def test_weights_of_wrapped_wrappers_come_back(tmp_path: Path, prefix: str) -> None:
    model = nn.Linear(2, 3)
    torch.save({prefix + key: value + 1 for key, value in model.state_dict().items()}, tmp_path / "w.pt")
    expected = model.weight + 1
    load_weights(model, tmp_path / "w.pt")
    assert torch.equal(model.weight, expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"not a file of torch\.save \(EOFError\)"),
        (b"\x80", r"not a file of torch\.save"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "is text, not weights; .* git lfs pull"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "is text, not weights; it begins with '<!DOCTYPE html>"),
        ([torch.zeros(2)], "holds a list; must be a state dict"),
        (torch.zeros(2), "holds a Tensor; must be a state dict"),
    ],
)
def test_what_is_no_weights_is_told(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "w.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(UserError, match=message) as caught:
        load_weights(network("resnet20"), path)
    assert len(str(caught.value).splitlines()) == 1


def test_equal_weights_are_saved_as_equal_bytes(tmp_path: Path) -> None:
    model = network("resnet20")
    for copy in range(4):
        save_weights(model, tmp_path / f"{copy}.safetensors", {name: name for name in "abcdefgh"})
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    with safe_open(tmp_path / "0.safetensors", "pt") as file:
        assert file.metadata()["c"] == "c"


def test_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    save_weights(network("resnet20"), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"missing layer1\.3\.conv1\.weight \(16, 16, 3, 3\).*; and \d+ more"):
        load_weights(network("resnet32"), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"linear\.weight is \(10, 64\), the network has \(7, 64\)"):
        load_weights(build(blocks.Network(name="resnet20"), 7, 3), tmp_path / "w.safetensors")


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code was run",)


def test_weights_run_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Harmful()}, tmp_path / "w.pt")
    with pytest.raises(UserError, match="loading it could run code"):
        load_weights(network("resnet20"), tmp_path / "w.pt")
    assert "code was run" not in capsys.readouterr().out
    (tmp_path / "d.pt").write_bytes(b"damaged")
    (tmp_path / "d.safetensors").write_bytes(b"damaged")
    for name in ("d.pt", "d.safetensors"):
        with pytest.raises(UserError, match=name):
            load_weights(network("resnet20"), tmp_path / name)


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared, which is not part of the project")
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("resnet20", "public/resnet20-12fca82f.th"),
        ("resnet56", "public/resnet56-4bfd9763.th"),
        ("resnet20", "resnet20-cifar10-jpeg.safetensors"),
        ("resnet56", "resnet56-cifar10-jpeg.safetensors"),
    ],
)
def test_public_checkpoints_load(name: str, file: str) -> None:
    load_weights(network(name), SHARED / "weights" / file)


def test_normalisation_inside() -> None:
    model = nn.Flatten()
    normalised = Normalised(model, torch.tensor([0.5, 0.25]), torch.tensor([0.25, 0.5]))
    x = torch.rand(3, 2, 4, 4)
    assert torch.allclose(normalised(x)[:, :16], (x[:, 0].flatten(1) - 0.5) / 0.25)
    assert torch.allclose(normalised(x)[:, 16:], (x[:, 1].flatten(1) - 0.25) / 0.5)
