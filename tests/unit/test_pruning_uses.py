"""What users do with pruned networks: copy, save, export, train; and networks from their own files."""

import copy
import io
from pathlib import Path

import networks_odd
import numpy as np
import onnxruntime
import pytest
import torch
from benchmarks.coverage import difference
from pruning_networks import ODD, images, network, space
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from typer.testing import CliRunner

from hamp.cli.app import app
from hamp.configuration.blocks import Network
from hamp.models.build import build
from hamp.pruning import discover, prune

FAST = ("Padded", "Shuffled", "resnet20")
NAMES = [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in ODD if name not in FAST)]


def pruned(name: str) -> nn.Module:
    """In evaluation mode, some branches gone, a third of the other channels."""
    of = space(name)
    wanted = np.where(of.branches == 0, 0, np.where(of.branch, np.maximum(of.channels * 0.67, 1), of.channels * 0.67))
    return prune(network(name), of, of.repair(wanted)).eval()


def outputs(model, *inputs: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return tree_leaves(model(*inputs))


def same(ours, theirs, tolerance: float = 1e-12) -> bool:
    return all(
        torch.allclose(a, torch.as_tensor(b), rtol=tolerance, atol=tolerance) for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_computes_the_same_and_shares_nothing(name):
    model = pruned(name)
    again = copy.deepcopy(model)
    expected = outputs(model, images(name))
    assert same(expected, outputs(again, images(name)))
    with torch.no_grad():
        for tensor in again.parameters():
            tensor.zero_()
    assert same(expected, outputs(model, images(name)))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_saved_whole(name, tmp_path):
    if name == "Stubborn":
        pytest.skip("torch refuses to save parametrised modules whole")
    model = pruned(name)
    torch.save(model, tmp_path / "network.pt")
    again = torch.load(tmp_path / "network.pt", weights_only=False)
    assert same(outputs(model, images(name)), outputs(again, images(name)))
    full = io.BytesIO()
    torch.save(network(name), full)
    assert (tmp_path / "network.pt").stat().st_size < len(full.getvalue()) + 40_000  # of recorded code


@pytest.mark.parametrize("name", NAMES)
def test_its_weights_load_into_the_same_network_pruned_again(name, tmp_path):
    model, again = pruned(name), pruned(name)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(0.1)
    tied = {id(t) for t in model.parameters()}
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    save_file(weights, tmp_path / "weights.safetensors")
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert same(outputs(model, images(name)), outputs(again, images(name)))
    assert len({id(t) for t in again.parameters()}) == len(tied)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_exported_for_any_number_of_images(name):
    if name == "Stubborn":
        pytest.skip("its own code reads a value, which torch.export refuses also before pruning")
    model = pruned(name)
    batch = ({0: torch.export.Dim("batch", min=2)},)
    program = torch.export.export(model, (images(name, 4),), dynamic_shapes=batch)
    assert same(outputs(model, images(name, 5)), outputs(program.module(), images(name, 5)))


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in (*ODD, "resnet20") if n != "Stubborn"])
def test_it_runs_in_onnx_runtime(name, tmp_path):
    model = pruned(name).float()
    file = tmp_path / "network.onnx"
    torch.onnx.export(model, (images(name).float(),), file, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: images(name, seed=1).float().numpy()})
    assert same(outputs(model, images(name, seed=1).float()), found, 1e-4)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_it_computes_in_other_types_of_numbers(name, kind):
    """Also where the code asks for the type of its input, as that of zeros to concatenate."""
    model = pruned(name)
    expected, found = outputs(model, images(name)), outputs(model.to(kind), images(name).to(kind))
    assert all(t.dtype == kind for t in found)
    assert same([t / t.abs().max() for t in expected], [t.double() / t.abs().max() for t in found], 0.1)


@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_the_loss_and_moves_every_weight_that_counts(name):
    model = pruned(name).train()
    before = {key: value.clone() for key, value in model.named_parameters()}
    optimiser = torch.optim.SGD(model.parameters(), 1e-3)
    losses = []
    for _ in range(3):
        loss = sum(t.square().mean() for t in tree_leaves(model(images(name))))
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < losses[0]
    moved = [not torch.equal(value, before[key]) for key, value in model.named_parameters() if value.grad is not None]
    assert np.mean(moved) > 0.8


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_classes_and_names_of_what_stays(name):
    model, full = pruned(name), network(name)
    assert set(model.state_dict()) <= set(full.state_dict())
    kinds = {path: type(module) for path, module in full.named_modules()}
    for path, module in model.named_modules():
        if type(module) is not kinds[path]:
            assert type(module).__module__ == "hamp.pruning.program"


class TestFile:
    """A file of the user's, with none of our code in it."""

    @pytest.mark.parametrize("name", ODD)
    def test_its_networks_are_pruned_exactly(self, name):
        model = build(Network(name=f"{networks_odd.__file__}:{name}"), 10, 3).double()
        assert type(model).__module__ == "hamp_user_networks_odd"
        of = discover(model, images(name), branch_removal=True)
        widths = of.repair(of.channels * 0.5)
        assert difference(model, of, widths, images(name), training=False) <= 1e-9

    def test_inspect_shows_it(self):
        file = Path(networks_odd.__file__)
        answer = CliRunner().invoke(
            app, ["inspect", f"{file}:Nested", "--image-size", "16", "--exclude", "three.*", "--branch-removal"]
        )
        assert answer.exit_code == 0
        rows = [line.split() for line in answer.output.splitlines()]
        assert ["one.2", "18", "18", "excluded", "by", "`three.*`"] not in rows
        assert any(row[1:2] == ["one.2"] for row in rows)
        assert any(row[:1] == ["three.0.0"] and "`three.*`" in row for row in rows)


def test_pruning_what_is_pruned():
    """The space of a pruned network is that of any other."""
    small = pruned("resnet20")
    of = discover(small, images("resnet20"), branch_removal=True)
    assert difference(small, of, of.repair(of.channels * 0.6), images("resnet20"), training=True) <= 1e-9
