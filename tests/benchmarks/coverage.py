"""Which channels of torchvision's networks can be pruned, and that pruning them is exact: writes docs/coverage.md.

    python tests/benchmarks/coverage.py [NAME ...] > docs/coverage.md

Every network gets random weights, random widths, and is compared with the silenced full network.
"""

import gc
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torchvision import models

from hamp.errors import UserError
from hamp.pruning import Space, discover, masked, prune, score

FAMILIES = (
    "alexnet", "vgg", "resnet", "resnext", "wide_resnet", "densenet", "googlenet", "inception_v3", "mobilenet",
    "mnasnet", "efficientnet", "regnet", "shufflenet_v2", "squeezenet", "convnext",
)  # fmt: skip
TRANSFORMERS = ("vit_b_16", "vit_b_32", "vit_l_16", "swin_t", "swin_s", "swin_v2_t", "maxvit_t")
DENSE = {
    "fcn_resnet50": lambda: models.segmentation.fcn_resnet50(weights_backbone=None, aux_loss=True),
    "deeplabv3_resnet50": lambda: models.segmentation.deeplabv3_resnet50(weights_backbone=None, aux_loss=True),
    "lraspp_mobilenet_v3_large": lambda: models.segmentation.lraspp_mobilenet_v3_large(weights_backbone=None),
    "ssdlite320_mobilenet_v3_large.backbone and head": lambda: BeforeDetections(
        models.detection.ssdlite320_mobilenet_v3_large(weights_backbone=None)
    ),
    "fasterrcnn_resnet50_fpn.backbone": lambda: (
        models.detection.fasterrcnn_resnet50_fpn(weights_backbone=None).backbone
    ),
}
SIZES = {"inception_v3": 299, "alexnet": 80, "maxvit_t": 224, "vit": 224, "ssdlite320": 320}
LARGE = 300e6  # parameters; above, float32 is used: the silenced network alone takes twice the memory of the weights


class BeforeDetections(nn.Module):
    """What a detector says of all anchors: which of near equal boxes it then keeps hangs on the last bit."""

    def __init__(self, detector: nn.Module):
        super().__init__()
        self.backbone, self.head = detector.backbone, detector.head

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.head(list(self.backbone(x).values()))


HEADER = """# Coverage

Written by `tests/benchmarks/coverage.py`. For each torchvision network, with random weights:

- groups: the groups found, with removable branches;
- prunable: the share of its convolutions' output channels that can be pruned, first convolution kept;
- found in: processor seconds of `discover`;
- difference: the largest relative difference between the network pruned at random widths, with random branches
  removed, and the silenced full network, in float64, in training and evaluation mode, before and after one step of SGD
  (resnet152 is that sensitive itself: with its input changed in the last bit, outputs after a step change by 8e-10);
- left whole: output channels that stay, by reason.

{enough} of {all} classification networks without attention have at least 80% of their convolution channels prunable.
"""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    groups: int
    prunable: float
    seconds: float
    difference: float
    checked: str
    frozen: str


def classification_networks() -> list[str]:
    """Names of torchvision's classification networks without attention."""
    return [name for name in models.list_models(module=models) if name.startswith(FAMILIES)]


def build(name: str) -> nn.Module:
    """The network with random weights, and random BatchNorm statistics; without dropout."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        network = DENSE[name]() if name in DENSE else models.get_model(name, weights=None, **given)
    return randomise(network)


def randomise(network: nn.Module) -> nn.Module:
    """Random statistics and scales in place of 0 and 1; dropout and stochastic depth off."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            for tensor, low, high in (
                (module.weight, 0.5, 1.5), (module.bias, -0.5, 0.5),
                (module.running_mean, -0.5, 0.5), (module.running_var, 0.5, 1.5),
            ):  # fmt: skip
                if tensor is not None:
                    nn.init.uniform_(tensor, low, high)
        elif isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.1)
        elif isinstance(module, (nn.Dropout, nn.Dropout2d)) or type(module).__name__ == "StochasticDepth":
            module.p = 0.0
    return network


def size_of(name: str) -> int:
    """Height and width of the smallest sensible image."""
    return next((size for prefix, size in SIZES.items() if name.startswith(prefix)), 64)


def random_widths(space: Space, rng: np.random.Generator) -> np.ndarray:
    """Allowed widths, all over the space; one branch in five goes."""
    wanted = rng.uniform(0.0, 1.0, space.groups) * space.channels
    gone = np.isin(space.branches, np.flatnonzero(rng.random(space.branches.max(initial=0) + 1) < 0.2))
    return space.repair(np.where(space.branch & ~gone, np.maximum(wanted, space.minimum), np.where(gone, 0, wanted)))


def difference(
    network: nn.Module, space: Space, widths: np.ndarray, x: Tensor, *, training: bool, step: bool = True
) -> float:
    """Largest relative difference between the pruned and the silenced network.

    Of the outputs, of those after a step of SGD, and then of those in evaluation mode, where running statistics count.
    """
    scores = score(network, space, "random", seed=1)
    outputs: list[list[Tensor]] = []
    for make in (prune, masked):
        candidate = make(network, space, widths, scores).train(training)
        before = _outputs(candidate, x)
        if not step:
            outputs.append([t.detach() for t in before])
            continue
        optimiser = torch.optim.SGD(candidate.parameters(), 1e-3)
        torch.stack([t.double().square().mean() for t in before]).sum().backward()
        optimiser.step()
        after = (*_outputs(candidate, x), *_outputs(candidate.eval(), x))
        outputs.append([t.detach() for t in (*before, *after)])
        del candidate, before, after, optimiser
    return max(((a - b).abs().max() / b.abs().max().clamp_min(1e-12)).item() for a, b in zip(*outputs, strict=True))


def _outputs(network: nn.Module, x: Tensor) -> list[Tensor]:
    torch.manual_seed(0)
    return [t for t in pytree.tree_leaves(network(x)) if isinstance(t, Tensor) and t.is_floating_point()]


def prunable_share(network: nn.Module, space: Space) -> float:
    """Share of the output channels of all convolutions that can be pruned."""
    convolutions = {n for n, m in network.named_modules() if isinstance(m, nn.modules.conv._ConvNd)}
    total = sum(m.out_channels for n, m in network.named_modules() if n in convolutions)
    left = sum(f.channels for f in space.frozen if f.layer in convolutions)
    return 1 - left / total


def trains(network: nn.Module, x: Tensor) -> bool:
    """Whether training takes nothing but images; detection is given targets."""
    try:
        network.train()(x)
    except AssertionError:
        return False
    return True


def examine(name: str, rng: np.random.Generator, *, branch_removal: bool = True) -> Row:
    """Space, prunable share and exactness of one network."""
    network = build(name)
    large = sum(p.numel() for p in network.parameters()) > LARGE
    dtype = torch.float32 if large else torch.float64
    network = network.to(dtype)
    x = torch.rand(3, 3, size_of(name), size_of(name), dtype=dtype)
    began = time.process_time()
    space = discover(network, x, branch_removal=branch_removal)
    seconds = time.process_time() - began
    step = not large and trains(network, x)
    modes = (False, True) if step else (False,)
    worst = max(difference(network, space, random_widths(space, rng), x, training=mode, step=step) for mode in modes)
    checked = "" if step else f" ({str(dtype)[6:]}, forward only)"
    reasons: dict[str, int] = {}
    for entry in space.frozen:
        reasons[entry.reason] = reasons.get(entry.reason, 0) + entry.channels
    frozen = "; ".join(f"{reason}: {count}" for reason, count in sorted(reasons.items(), key=lambda r: -r[1])[:4])
    return Row(name, space.groups, prunable_share(network, space), seconds, worst, checked, frozen)


def rows(names: list[str], note: Callable[[str], None]) -> Iterator[Row | tuple[str, str]]:
    """A row for each network, or its name and why it is refused."""
    rng = np.random.default_rng(0)
    for name in names:
        try:
            row = examine(name, rng)
            note(f"{name}: {row.difference:.1e}, {row.seconds:.1f} s")
            yield row
        except UserError as error:
            note(f"{name}: {error}")
            yield name, str(error)
        gc.collect()


def main() -> None:
    """Write the table to standard output."""
    torch.set_num_threads(1)
    names = sys.argv[1:] or [*classification_networks(), *TRANSFORMERS, *DENSE]
    found = list(rows(names, lambda text: print(text, file=sys.stderr, flush=True)))
    done = [r for r in found if isinstance(r, Row)]
    convolutional = [r for r in done if r.name in classification_networks()]
    enough = sum(r.prunable >= 0.8 for r in convolutional)
    print(HEADER.format(enough=enough, all=len(convolutional)))
    print("| network | groups | prunable | found in | difference | left whole |\n| --- | --- | --- | --- | --- | --- |")
    for row in found:
        if isinstance(row, Row):
            print(
                f"| {row.name} | {row.groups} | {row.prunable:.1%} | {row.seconds:.1f} s "
                f"| {row.difference:.1e}{row.checked} "
                f"| {row.frozen} |"
            )
        else:
            print(f"| {row[0]} | refused | | | | {row[1]} |")


if __name__ == "__main__":
    main()
