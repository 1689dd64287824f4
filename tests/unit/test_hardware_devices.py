"""Devices in this process: what is run, what is refused."""

import ctypes.util

import numpy as np
import pytest
import torch
from hardware_networks import SHAPE, chain, space_of
from networks_odd import TwoHeads
from torch import nn

from hamp import tables
from hamp.configuration.blocks import Device, Measure, Profile
from hamp.configuration.validate import load as configuration
from hamp.errors import UserError
from hamp.hardware import fingerprint, layers, memory, nvidia, onnx_files, predictor, sessions
from hamp.hardware.devices import available, check, load, onnxruntime, pytorch
from hamp.hardware.layers import ELEMENTWISE, Family, Layer
from hamp.hardware.profile import build, random_networks, time_networks, validate
from hamp.pruning import discover, score

onnx_only = pytest.importorskip("onnxruntime")
LAYERS = [
    (Layer(Family("conv", (3, 3), (2, 2), (1, 1), (1, 1), size=(9, 9), output_size=(5, 5)), 5, 7), (7, 5, 5)),
    (Layer(Family("conv", (3, 3), (1, 1), (2, 2), (2, 2), (1, 1), (8, 8), (8, 8)), 6, 6), (6, 8, 8)),
    (Layer(Family("conv", (1, 1), (1, 1), (0, 0), (1, 1), (2, 4), (8, 8), (8, 8)), 6, 12), (12, 8, 8)),
    (Layer(Family("conv_transpose", (3, 3), (2, 2), (1, 1), (1, 1), size=(4, 4), output_size=(8, 8)), 3, 5), (5, 8, 8)),
    (Layer(Family("conv", (3,), (1,), (1,), (1,), size=(8,), output_size=(8,)), 3, 5), (5, 8)),
    (Layer(Family("linear"), 6, 3), (3,)),
    (Layer(Family("linear", positions=4), 6, 3), (4, 3)),
    (Layer(ELEMENTWISE, 10, 10), (10,)),
]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda value: getattr(value, "family", value) and None)
def test_a_single_layer_has_the_shape_that_it_has_in_a_network(layer, shape):
    inputs = torch.zeros(2, *layer.shape)
    assert pytorch.module(layer)(inputs).shape == (2, *shape)
    session = onnx_only.InferenceSession(onnx_files.layer(layer, 2), providers=["CPUExecutionProvider"])
    assert session.run(None, {"input": inputs.numpy()})[0].shape == (2, *shape)
    assert len(onnx_files.layer(Layer(Family("linear"), 10_000, 10_000), 1)) < 1000


def test_folding_changes_no_output_and_leaves_no_batchnorm():
    model, images = chain(), torch.rand(4, *SHAPE)
    folded = pytorch.fold_batchnorm(model, images)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert torch.allclose(folded(images), model(images), atol=1e-5)


class ByKeyword(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(input=self.conv(x))


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 8, 4, groups=8), nn.BatchNorm2d(8)),
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 8, 4, groups=2), nn.BatchNorm2d(8)),
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False)),
        ByKeyword(),
    ],
    ids=["depthwise transposed", "grouped transposed", "no statistics", "by keyword"],
)
def test_a_batchnorm_that_cannot_be_folded_stays(model):
    images = torch.rand(2, *SHAPE)
    folded = pytorch.fold_batchnorm(model, images)
    torch.testing.assert_close(folded(images), model.eval()(images), rtol=1e-4, atol=1e-5)
    pytorch.prepare(model, SHAPE, Device(batch_size=2))()


class Volumes(nn.Module):
    """Channels as the depth of a volume, as for hyperspectral images."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv3d(1, 4, 3, padding=1), nn.Conv2d(12, 5, 3)

    def forward(self, x):
        return self.second(self.first(x[:, None]).flatten(1, 2)).mean(dim=(2, 3))


def test_a_network_with_volumes_runs():
    pytorch.prepare(Volumes(), SHAPE, Device(batch_size=2))()
    assert memory.peak_bytes(Volumes().eval(), SHAPE, Device(batch_size=2)) > 0


class Frames(nn.Module):
    """Images of 6 frames, each of which goes through the first convolution, and their mean through the second."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.linear = nn.Linear(8, 3)

    def forward(self, x):
        n, frames, height, width = x.shape
        y = self.first(x.reshape(n * frames, 1, height, width)).relu()
        y = self.second(y.reshape(n, frames, 8, height, width).mean(dim=1)).relu()
        return self.linear(y.mean(dim=(2, 3)))


@pytest.mark.parametrize("runtime", ["pytorch", "onnxruntime"])
def test_frames_in_the_batch_dimension_are_profiled_as_often_as_they_are_computed(runtime):
    model = Frames().eval()
    space = discover(model, torch.rand(2, 6, 8, 8), minimum_fraction=0.25)
    columns, _ = layers.columns(space, np.array([space.channels], np.int32))
    first = next(column for column in columns if column.name == "first")
    assert first.family.times == 6
    assert first.activations[0] == 6 * (1 + 8) * 64
    assert first.family.signature.endswith("6 times")
    device = Device(runtime=runtime, batch_size=1)
    scores = score(model, space, "l1")
    profile = build(model, space, (6, 8, 8), device, Profile(points=3, networks=3, rounds=3, seconds=1.0), scores, 0)
    assert (predictor.predict(profile, space, np.array([space.channels], np.int32)) > 0).all()


def test_folding_a_network_with_several_outputs_changes_none():
    model, x = TwoHeads().eval(), torch.rand(2, 3, 8, 8)
    model.norm.running_var.uniform_(0.5, 2.0)
    folded = pytorch.fold_batchnorm(model, x)
    assert isinstance(folded.norm, nn.Identity)
    for name, output in model(x).items():
        torch.testing.assert_close(folded(x)[name], output, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("visible", "asked"),
    [(None, ("index", 0)), ("1", ("index", 1)), ("3,1", ("index", 3)), ("GPU-7", ("uuid", "GPU-7"))],
)
def test_the_gpu_that_tells_is_the_one_in_use(monkeypatch, visible, asked):
    """NVML counts all GPUs of the machine, whatever CUDA programs may see."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    nvml = nvidia.pynvml
    monkeypatch.setattr(nvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(nvml, "nvmlDeviceGetHandleByIndex", lambda index: ("index", index))
    monkeypatch.setattr(nvml, "nvmlDeviceGetHandleByUUID", lambda uuid: ("uuid", uuid))
    read = []
    monkeypatch.setattr(nvml, "nvmlDeviceGetTotalEnergyConsumption", lambda handle: read.append(handle) or 2500)
    assert nvidia.joules()() == 2.5
    assert set(read) == {asked}


def test_a_provider_that_does_not_start_is_one_line(monkeypatch):
    """As where a library of CUDA is missing: ONNX Runtime then falls back to the CPU."""
    monkeypatch.setattr(sessions, "require", lambda provider: "CUDAExecutionProvider")
    with pytest.raises(UserError, match=r"^device\.provider 'cuda': "):
        onnxruntime.prepare_layer(
            Layer(ELEMENTWISE, 8, 8), Device(runtime="onnxruntime", provider="cuda", batch_size=1)
        )


class TwoReaders(nn.Module):
    """A convolution whose output BatchNorm and the sum both take; and a BatchNorm used twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + y


def test_folding_leaves_alone_what_it_would_change():
    model, images = TwoReaders().eval(), torch.rand(2, 3, 4, 4)
    nn.init.constant_(model.norm.running_mean, 3.0)
    folded = pytorch.fold_batchnorm(model, images)
    assert torch.allclose(folded(images), model(images))
    assert isinstance(folded.norm, nn.BatchNorm2d)


def test_the_onnx_file_computes_what_the_network_does():
    model, images = chain(), torch.rand(2, *SHAPE)
    session = onnx_only.InferenceSession(onnx_files.network(model, SHAPE, 2), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
    assert np.allclose(outputs, model(images).detach().numpy(), atol=1e-5)


def test_what_the_older_exporter_cannot_write_the_newer_one_does():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(5), nn.Flatten()).eval()
    images = torch.rand(2, *SHAPE)
    session = onnx_only.InferenceSession(onnx_files.network(model, SHAPE, 2), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
    assert np.allclose(outputs, model(images).detach().numpy(), atol=1e-5)


class Sorted(nn.Module):
    """With an operator that ONNX has not."""

    def forward(self, x):
        return torch.special.bessel_j0(x)


def test_a_network_that_no_exporter_writes_is_one_line():
    with pytest.raises(UserError, match=r"^this network cannot be written as ONNX for the device: ") as caught:
        onnx_files.network(Sorted(), SHAPE, 1)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_one_line():
    with pytest.raises(UserError, match=r"^device\.hardware: 'cuda', but there is no GPU here"):
        pytorch.prepare(chain(), SHAPE, Device(hardware="cuda"))


@pytest.mark.parametrize("runtime", ["pytorch", "onnxruntime"])
def test_a_run_is_one_inference_and_changes_nothing(runtime):
    model = chain()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run = load(Device(runtime=runtime)).prepare(model, SHAPE, Device(runtime=runtime, batch_size=2))
    assert run() is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("runtime", ["pytorch", "onnxruntime"])
def test_profile_measure_and_validate(runtime):
    """From one end to the other on a small network; how good the prediction is, the benchmarks say."""
    model = chain()
    space = space_of(model)
    scores = score(model, space, "l1")
    device = Device(runtime=runtime, batch_size=1)
    profile = build(model, space, SHAPE, device, Profile(points=4, networks=4, rounds=3, seconds=3.0), scores, 0)
    assert profile.schema.equals(tables.PROFILE)
    assert fingerprint.of(profile)["runtime"] == runtime
    assert min(profile["latency_ms"].to_pylist()) > 0
    networks = [row["name"] for row in profile.to_pylist() if row["kind"] == "network"]
    assert networks[0] == "unpruned"
    assert len(networks) == 5
    widths = random_networks(space, 3, np.random.default_rng(0))
    latency = time_networks(model, space, SHAPE, widths, device, Measure(rounds=3), scores, 0)
    assert latency.num_rows == 4
    assert (predictor.predict(profile, space, widths) > 0).all()
    figures = validate(model, space, SHAPE, device, Measure(rounds=3), scores, 0, profile, 5)
    assert figures["way"].to_pylist() == ["predictor", "sum of layers", "macs"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"data_type": "float16"}, "'float16' is for CUDA"),
        ({"cuda_graphs": True}, "cuda_graphs.*'cpu'"),
        ({"runtime": "onnxruntime", "data_type": "bfloat16"}, "'bfloat16'"),
        ({"runtime": "onnxruntime", "cuda_graphs": True}, "cuda_graphs"),
        ({"provider": "cuda"}, "device.provider: 'cuda' is for ONNX Runtime"),
        ({"runtime": "remote"}, "device.host: missing"),
        ({"runtime": "remote", "host": "x", "cuda_graphs": True}, "cuda_graphs"),
        ({"runtime": "roofline"}, "device.description: missing"),
    ],
)
def test_what_cannot_be_is_refused_wherever_the_device_is(changed, words):
    for look in (check, available):
        with pytest.raises(UserError, match=words):
            look(Device(**changed))


def test_only_what_is_on_another_machine_is_not_looked_for():
    device = Device(runtime="remote", host="x", ssh=["no-such-program"])
    check(device)
    with pytest.raises(UserError, match="no program 'no-such-program'"):
        available(device)
    check(Device(hardware="cuda", data_type="float16", cuda_graphs=True))
    check(Device(runtime="onnxruntime", provider="tensorrt", data_type="float16"))


@pytest.mark.parametrize(
    ("hardware", "provider", "processor"),
    [
        ("cpu", None, "cpu"),
        ("cuda", None, "cuda"),
        ("cpu", "tensorrt", "cuda"),
        ("cpu", "cuda", "cuda"),
        ("cuda", "cpu", "cpu"),
    ],
)
def test_the_execution_provider_tells_the_processor(hardware, provider, processor):
    assert Device(runtime="onnxruntime", hardware=hardware, provider=provider).processor == processor


@pytest.mark.skipif(ctypes.util.find_library("cuda") is not None, reason="there is a CUDA driver here")
def test_cuda_is_refused_where_there_is_none():
    with pytest.raises(UserError, match=r"device.hardware is 'cuda'"):
        available(Device(hardware="cuda"))


@pytest.mark.skipif("CUDAExecutionProvider" in onnx_only.get_available_providers(), reason="ONNX Runtime has CUDA here")
def test_a_missing_execution_provider_is_refused():
    with pytest.raises(UserError, match="CPUExecutionProvider"):
        available(Device(runtime="onnxruntime", provider="cuda"))
    with pytest.raises(RuntimeError, match="CPUExecutionProvider"):
        sessions.runner(b"", "cuda", 1)


def test_devices_that_are_here_are_available():
    for runtime in ("pytorch", "onnxruntime"):
        available(Device(runtime=runtime))


@pytest.mark.parametrize("block", [{"description": "jetson-nano"}, {"runtime": "onnxruntime", "host": "board"}])
def test_settings_of_another_runtime_are_refused(block):
    key = next(name for name in ("description", "host") if name in block)
    with pytest.raises(UserError, match=rf"^device\.{key}: '.*' is for device\.runtime '"):
        configuration({"device": block})
    with pytest.raises(UserError, match=rf"^devices\.nano\.{key}: "):
        configuration({"devices": {"nano": block}, "objectives": ["error", "latency_ms@nano"]})
