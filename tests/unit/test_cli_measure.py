"""`hamp measure` on ONNX files, as a user would."""

import onnx
import pytest
from hardware_networks import SHAPE, chain
from made_results import DESCRIBED, make
from onnx import TensorProto, helper
from typer.testing import CliRunner

from hamp.cli.app import app
from hamp.cli.devices import changed
from hamp.configuration.validate import load
from hamp.errors import UserError
from hamp.hardware import onnx_files
from hamp.results import Results

QUICK = ["--rounds", "3", "--seconds", "0.1"]


def measured(*arguments):
    """Lines that it prints; its one-line error is raised."""
    result = CliRunner().invoke(app, ["measure", *map(str, arguments), *QUICK])
    if result.exception:
        raise result.exception
    return result.stdout.splitlines()


@pytest.fixture
def network(tmp_path):
    file = tmp_path / "network.onnx"
    file.write_bytes(onnx_files.network(chain(), SHAPE, 1))
    return file


def open_sizes(file):
    """A network whose images may have any height."""
    shape = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "height", 12])]
    output = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    graph = helper.make_graph([helper.make_node("Relu", ["image"], ["out"])], "any", shape, output)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)


def of(file, kind, opset=17, shape=(1, 3, 4, 4)):
    """A network that takes such numbers and lays them out as one image."""
    taken = helper.make_tensor_value_info("image", kind, shape)
    given = helper.make_tensor_value_info("out", kind, None)
    sizes = helper.make_tensor("sizes", TensorProto.INT64, [2], [1, 48])
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["image", "sizes"], ["out"])], "any", [taken], [given], [sizes]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), file)
    return file


def test_files_that_onnx_runtime_does_not_run_are_one_line(tmp_path):
    for name, file, extra in (
        ("half", of(tmp_path / "half.onnx", TensorProto.FLOAT16), []),
        ("newer", of(tmp_path / "newer.onnx", TensorProto.FLOAT, opset=99), []),
        ("fixed", of(tmp_path / "fixed.onnx", TensorProto.FLOAT), ["-d", "batch_size=8"]),
    ):
        with pytest.raises(UserError, match=rf"^{tmp_path}/{name}\.onnx: device\.provider 'cpu': ") as caught:
            measured(file, *extra)
        assert "\n" not in str(caught.value)


def test_files_are_measured_beside_the_first(network, tmp_path):
    other = tmp_path / "other.onnx"
    other.write_bytes(network.read_bytes())
    first, second = measured(network, other)
    assert first.startswith(str(network))
    assert "compared with" in first
    assert second.startswith(str(other))
    assert "times as fast" in second


def test_a_described_device_is_not_measured(tmp_path):
    make(tmp_path / "made", **DESCRIBED)
    name = Results(tmp_path / "made").front["candidate"][0].as_py()
    with pytest.raises(UserError, match=r"^--device: on the described device 'jetson-nano' nothing is measured"):
        measured(name, "--results", tmp_path / "made")


def test_what_only_another_runtime_has_is_left_out_where_the_runtime_is_changed():
    described = load(DESCRIBED).device
    assert changed(described, {}, ["runtime=pytorch"]).description is None
    with pytest.raises(UserError, match=r"^device\.description: 'jetson-nano' is for device\.runtime 'roofline'"):
        changed(described, {}, ["runtime=pytorch", "description=jetson-nano"])


def test_what_cannot_be_measured_is_one_line(network, tmp_path):
    damaged, any_size = tmp_path / "damaged.onnx", tmp_path / "any.onnx"
    damaged.write_text("no protobuf")
    open_sizes(any_size)
    for arguments, words in (
        ([tmp_path / "nowhere.onnx"], "no such file"),
        ([damaged], "no ONNX file of one input"),
        ([any_size], "open (1 x 3 x height x 12)"),
        ([network, "-d", "runtime=pytorch"], "runs no ONNX files"),
        ([network, "-d", "runtime=remote"], "device.host"),
        ([network, "-d", "threads=x"], "'x' is not allowed"),
        ([network, "-d", "nano"], "must be KEY=VALUE"),
    ):
        with pytest.raises(UserError) as caught:
            measured(*arguments)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
