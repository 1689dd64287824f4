"""What a candidate's evaluation costs, beside the plain way: Torch-Pruning, PyTorch as it is, and a DataLoader.

    python -m tests.benchmarks evaluate

Weights and images are random, since time does not depend on them. Everything runs in one thread, and processor time is
taken, so that other jobs on the machine count little. Candidates have random widths inside the residual blocks, the
same for both ways; each is pruned, its BatchNorm re-estimated on 512 images, and judged on 2,000. In bfloat16 only
where the processor has instructions for it.
"""

import copy
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
import torch_pruning
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from hamp.configuration.blocks import Augment, Network
from hamp.data.images import ImageSet
from hamp.models.build import build
from hamp.pruning import Space, discover, prune, score
from hamp.seeding import generator
from hamp.training.augmentation import calibration_batches
from hamp.training.evaluation import evaluate
from hamp.training.hardware import data_type, use
from hamp.training.lowering import lower
from hamp.training.recalibration import recalibrate
from hamp.training.tasks import task
from tests.benchmarks.rows import Row, row

RECALIBRATED, JUDGED, BATCH, CANDIDATES = 512, 2000, 128, 4
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AUGMENT = Augment(crop=4, flip=True)
# Random networks' outputs hardly differ; trained ones leave about so many images to be judged again in float32.
TASK = replace(task("classification"), close=lambda outputs: torch.arange(len(outputs)) % 17 == 0)
BFLOAT16 = data_type("auto", torch.device("cpu")) is torch.bfloat16
PRECISIONS = ("float32", "bfloat16") if BFLOAT16 else ("float32",)


class Pictures(Dataset):
    """Images as torchvision's CIFAR10 holds them, transformed one by one."""

    def __init__(self, images: ImageSet, transform: Callable[[Any], Tensor]) -> None:
        self.images = images.images.permute(0, 2, 3, 1).numpy()
        self.targets, self.transform = images.targets.tolist(), transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.targets[index]


def plain_way(model: nn.Module, widths: dict[str, int], train: ImageSet, judged: ImageSet) -> dict[str, float]:
    """Seconds of each part with Torch-Pruning and eager float32."""
    seconds = {}
    begun = time.process_time()
    pruned = copy.deepcopy(model)
    graph = torch_pruning.DependencyGraph().build_dependency(pruned, torch.zeros(1, 3, 32, 32))
    for name, width in widths.items():
        layer = pruned.get_submodule(name)
        order = layer.weight.detach().abs().sum((1, 2, 3)).argsort()
        gone = order[: len(order) - width].tolist()
        if gone:
            graph.get_pruning_group(layer, torch_pruning.prune_conv_out_channels, gone).prune()
    seconds["prune"], begun = time.process_time() - begun, time.process_time()

    normalise = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    augmented = transforms.Compose([transforms.RandomCrop(32, 4), transforms.RandomHorizontalFlip(), *normalise])
    norms = [module for module in pruned.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    pruned.train()
    with torch.no_grad():
        for inputs, _ in DataLoader(Pictures(train, augmented), BATCH, shuffle=True):
            pruned(inputs)
    seconds["recalibrate"], begun = time.process_time() - begun, time.process_time()

    pruned.eval()
    wrong = 0
    with torch.no_grad():
        for inputs, targets in DataLoader(Pictures(judged, transforms.Compose(normalise)), BATCH):
            wrong += int((pruned(inputs).argmax(1) != targets).sum())
    seconds["judge"] = time.process_time() - begun
    return seconds


def our_way(
    model: nn.Module,
    space: Space,
    scores: list[np.ndarray],
    widths: np.ndarray,
    calibration: list[Tensor],
    judged: ImageSet,
    precision: str,
) -> dict[str, float]:
    """Seconds of each part as the stage `evaluate` does it."""
    seconds = {}
    begun = time.process_time()
    pruned = prune(model, space, widths, scores).to(memory_format=torch.channels_last)
    seconds["prune"], begun = time.process_time() - begun, time.process_time()
    recalibrate(pruned, calibration, precision)
    seconds["recalibrate"], begun = time.process_time() - begun, time.process_time()
    evaluate(pruned, judged, TASK, BATCH, precision=precision)
    seconds["judge"] = time.process_time() - begun
    return seconds


def candidates(name: str) -> Iterator[Row]:
    """Candidates a minute, and the seconds of each part of one. The plain way has a process of its own: see `use`."""
    use(1)
    torch.manual_seed(0)
    model = build(Network(name=name), 10, 3).eval()
    train, judged = pictures(RECALIBRATED, 0), pictures(JUDGED, 1)
    space = discover(model, torch.zeros(2, 3, 32, 32))
    scores = score(model, space, "l1")
    rng = generator(0, "benchmark")
    inner = [group for group, layer in enumerate(space.names) if layer.startswith("layer") and "conv1" in layer]
    calibration = calibration_batches(train, AUGMENT, RECALIBRATED, BATCH, 0)
    ways: dict[str, list[dict[str, float]]] = {way: [] for way in ("plain", *PRECISIONS)}
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (1,)) as plain:
        for _ in range(CANDIDATES):
            widths = np.array(space.channels)
            widths[inner] = np.maximum(1, widths[inner] * rng.uniform(0.2, 1, len(inner))).astype(int)
            by_layer = {space.names[group]: int(widths[group]) for group in inner}
            ways["plain"].append(plain.submit(plain_way, model, by_layer, train, judged).result())
            for precision in PRECISIONS:
                ways[precision].append(our_way(model, space, scores, widths, calibration, judged, precision))
    seconds = {
        way: {part: float(np.median([run[part] for run in runs])) for part in runs[0]} for way, runs in ways.items()
    }
    total = {way: sum(parts.values()) for way, parts in seconds.items()}
    for precision in PRECISIONS:
        suffix = "" if precision == "float32" else f"-{precision}"
        yield row(f"evaluate-{name}{suffix}", 60 / total[precision], 60 / total["plain"], "candidates/min")
        for part, value in seconds[precision].items():
            yield row(f"evaluate-{name}{suffix}: {part}", value, seconds["plain"][part], "s", smaller=True)


def peak_share(name: str) -> Iterator[Row]:
    """Multiply-add rate of the forward passes beside that of one large convolution of the same precision."""
    torch.manual_seed(0)
    model = build(Network(name=name), 10, 3).eval()
    space = discover(model, torch.zeros(2, 3, 32, 32), channel_multiple=8)
    rng = generator(1, "benchmark")
    pruned = np.maximum(8, np.array(space.channels) * rng.uniform(0.4, 1, space.groups) // 8 * 8).astype(int)
    images = torch.randn(BATCH, 3, 32, 32).to(memory_format=torch.channels_last)
    for subject, widths in (("unpruned", np.array(space.channels)), ("pruned", pruned)):
        network = prune(model, space, widths)
        macs = float(space.costs(widths)["macs"][0])
        plain = fastest(lambda network=network: network(images))  # type: ignore[misc]
        for precision in PRECISIONS:
            dtype = data_type(precision, torch.device("cpu"))
            (lowered,) = lower(network, images[:1], dtype)
            seconds = fastest(lambda lowered=lowered: lowered(images))  # type: ignore[misc]
            rate = 2e-9 * macs * BATCH / seconds
            yield row(f"forward-{name}, {subject}, {precision}: share of peak", rate, peak(dtype), "GFLOP/s")
            yield row(f"forward-{name}, {subject}, {precision}", BATCH / seconds, BATCH / plain, "images/s")


def peak(dtype: torch.dtype) -> float:
    """GFLOP/s of a convolution of 256 by 256 channels on 32x32 pixels."""
    layer = nn.Conv2d(256, 256, 3, padding=1, bias=False).to(dtype).to(memory_format=torch.channels_last)
    x = torch.randn(16, 256, 32, 32).to(dtype).to(memory_format=torch.channels_last)
    return 2e-9 * 16 * 1024 * 256 * 256 * 9 / fastest(lambda: layer(x))


def fastest(function: Callable[[], Any], rounds: int = 7) -> float:
    """Processor seconds of the fastest of some calls, after one to warm up."""
    with torch.inference_mode():
        function()
        seconds = []
        for _ in range(rounds):
            begun = time.process_time()
            function()
            seconds.append(time.process_time() - begun)
    return min(seconds)


def pictures(count: int, seed: int) -> ImageSet:
    """Random images of 32x32 pixels, 10 classes."""
    drawn = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 3, 32, 32), generator=drawn, dtype=torch.uint8)
    targets = torch.randint(0, 10, (count,), generator=drawn)
    return ImageSet(pixels, torch.arange(count), targets, torch.tensor(MEAN), torch.tensor(STD), tuple("0123456789"))


def rows() -> Iterator[Row]:
    """All of them; some minutes."""
    for name in ("resnet20", "resnet56"):
        yield from candidates(name)
        yield from peak_share(name)
