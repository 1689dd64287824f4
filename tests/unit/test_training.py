"""Training, recalibration and evaluation."""

import copy
import math
import os
import signal
import subprocess
import sys
import time
import weakref
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hamp import tables
from hamp.configuration import blocks
from hamp.data.images import ImageSet
from hamp.errors import Diverged, UserError
from hamp.models.build import build
from hamp.pruning import discover, prune, score
from hamp.seeding import seed_of
from hamp.stages.evaluate import evaluate as evaluate_candidates
from hamp.stages.finetune import finetune
from hamp.stages.state import candidates
from hamp.training import checkpoints, descent, teaching
from hamp.training.augmentation import augment, calibration_batches
from hamp.training.evaluation import batch_of, evaluate
from hamp.training.hardware import data_type
from hamp.training.loop import epochs, train
from hamp.training.recalibration import recalibrate
from hamp.training.tasks import soft_target_distance, task
from hamp.training.teaching import teacher

torch.set_num_threads(1)
CLASSIFICATION = task("classification")
PLAIN = blocks.Augment(crop=0, flip=False)


def stripes(count: int = 96, size: int = 8, seed: int = 0) -> ImageSet:
    """Noisy images of vertical or horizontal stripes: two classes."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(count) % 2
    pattern = ((torch.arange(size) % 2) * 160).to(torch.uint8).expand(size, size)
    clean = torch.where(targets.bool()[:, None, None], pattern, pattern.T)
    pixels = clean + torch.randint(0, 90, (count, size, size), generator=generator).to(torch.uint8)
    mean, std = torch.tensor([0.5]), torch.tensor([0.3])
    return ImageSet(pixels[:, None], torch.arange(count), targets, mean, std, ("rows", "columns"))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build(blocks.Network(arguments={"widths": [4, 8], "blocks": [1, 1]}), 2, 1)


def optimisation(**settings: object) -> blocks.Optimisation:
    return blocks.Optimisation(**{"epochs": 3, "batch_size": 16, "learning_rate": 0.05, **settings})


def state_of(model: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def equal(one: list[torch.Tensor], two: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_training_learns_and_tells() -> None:
    model = network()
    validation = stripes(seed=1)
    history = train(
        model,
        stripes(),
        validation,
        CLASSIFICATION,
        optimisation(epochs=5),
        PLAIN,
        0,
        name="abc",
        progress=False,
    )
    assert history.schema.equals(tables.TRAINING)
    assert history["epoch"].to_pylist() == [1, 2, 3, 4, 5]
    assert set(history["candidate"].to_pylist()) == {"abc"}
    assert history["loss"][4].as_py() < history["loss"][0].as_py() / 2
    last = history["error_validation"][4].as_py()
    assert last == evaluate(model, validation, CLASSIFICATION, 7) < 0.1


@pytest.mark.parametrize("settings", [{}, {"average": 0.9}, {"precision": "bfloat16"}, {"precision": "auto"}])
def test_training_depends_on_its_arguments_only(settings: dict[str, object]) -> None:
    results = []
    for disturbance in (1, 2):
        model = network()
        torch.manual_seed(disturbance)
        crop = blocks.Augment(crop=1, flip=True)
        train(model, stripes(), None, CLASSIFICATION, optimisation(**settings), crop, 5, progress=False)
        results.append(state_of(model))
    assert equal(*results)
    other = network()
    train(other, stripes(), None, CLASSIFICATION, optimisation(**settings), crop, 6, progress=False)
    assert not equal(results[0], state_of(other))


@pytest.mark.parametrize("instruction", ["avx512_bf16", "amx_bf16", "bf16"])
def test_auto_is_bfloat16_where_the_processor_has_it(instruction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {instruction: True})
    chosen = [data_type(precision, torch.device("cpu")) for precision in ("float32", "bfloat16", "auto")]
    assert chosen == [torch.float32, torch.bfloat16, torch.bfloat16]


class TwoClasses(nn.Module):
    """Tells the stripes apart by some thousandths of its outputs, which bfloat16 does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.decide = nn.Linear(64, 2, bias=False)
        stripes = torch.arange(64).reshape(8, 8) % 2
        self.decide.weight = nn.Parameter(1 + 1e-4 * torch.stack([stripes.T.flatten(), stripes.flatten()]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decide(self.flatten(x))


@pytest.mark.filterwarnings("ignore:precision")
def test_what_bfloat16_cannot_tell_is_judged_in_float32() -> None:
    images = stripes()
    assert evaluate(TwoClasses(), images, CLASSIFICATION, 16) == 0
    rounded = evaluate(TwoClasses(), images, replace(CLASSIFICATION, close=None), 16, precision="bfloat16")
    assert rounded == 0.5
    assert evaluate(TwoClasses(), images, CLASSIFICATION, 16, precision="bfloat16") == 0


def test_auto_is_float32_on_other_processors_where_bfloat16_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_f": True, "avx512_bf16": False})
    assert [data_type(precision, torch.device("cpu")) for precision in ("float32", "auto")] == [torch.float32] * 2
    with pytest.warns(UserWarning, match="no instructions for it.*auto or float32"):
        assert data_type("bfloat16", torch.device("cpu")) is torch.bfloat16


class Stopped(Exception):
    pass


@pytest.mark.parametrize("settings", [{}, {"average": 0.9}])
def test_an_interrupted_training_ends_in_the_same_weights(
    settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, crop = optimisation(epochs=4, **settings), blocks.Augment(crop=1)
    arguments = (stripes(), stripes(seed=1), CLASSIFICATION, chosen, crop, 3)
    whole = network()
    expected = train(whole, *arguments, progress=False)

    save, saved = checkpoints.save, []

    def save_twice(*given: object) -> None:
        save(*given)
        saved.append(1)
        if len(saved) == 2:
            raise Stopped

    monkeypatch.setattr(checkpoints, "save", save_twice)
    checkpoint = tmp_path / "c.pt"
    with pytest.raises(Stopped):
        train(network(), *arguments, checkpoint=checkpoint, progress=False)
    resumed = network()
    history = train(resumed, *arguments, checkpoint=checkpoint, progress=False)
    assert len(saved) == 4, "two epochs before the stop and two after it"
    assert equal(state_of(whole), state_of(resumed))
    assert history.equals(expected)

    # Killed after its end: nothing is trained again.
    again, passes = network(), []
    again.register_forward_hook(lambda module, *_: passes.append(module.training))
    assert train(again, *arguments, checkpoint=checkpoint, progress=False).equals(expected)
    assert not passes
    assert equal(state_of(whole), state_of(again))


@pytest.mark.parametrize("change", ["settings", "seed", "weights", "images", "damaged"])
def test_a_checkpoint_of_another_training_is_not_used(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "c.pt"
    save = checkpoints.save

    def save_once(*given: object) -> None:
        save(*given)
        raise Stopped

    monkeypatch.setattr(checkpoints, "save", save_once)
    with pytest.raises(Stopped):
        train(
            network(),
            stripes(),
            None,
            CLASSIFICATION,
            optimisation(),
            PLAIN,
            0,
            checkpoint=checkpoint,
            progress=False,
        )
    monkeypatch.setattr(checkpoints, "save", save)
    if change == "damaged":
        checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    weights = network(1 if change == "weights" else 0)
    images = stripes(seed=2 if change == "images" else 0)
    settings = optimisation(label_smoothing=0.1 if change == "settings" else 0.0)
    seed = 1 if change == "seed" else 0
    fresh = copy.deepcopy(weights)
    train(weights, images, None, CLASSIFICATION, settings, PLAIN, seed, checkpoint=checkpoint, progress=False)
    train(fresh, images, None, CLASSIFICATION, settings, PLAIN, seed, progress=False)
    assert equal(state_of(weights), state_of(fresh))


def test_a_checkpoint_under_another_loss_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user corrects the task's file between two runs."""
    checkpoint, file = tmp_path / "c.pt", tmp_path / "own_loss.py"

    def trained(factor: int, checkpoint: Path | None) -> nn.Module:
        file.write_text(
            "import torch.nn.functional as F\n"
            "def judge(outputs, targets):\n"
            f"    return {factor} * F.cross_entropy(outputs, targets), (outputs.argmax(1) != targets).float()\n"
        )
        monkeypatch.delitem(sys.modules, "hamp_user_own_loss", raising=False)
        model = network()
        own = task(f"{file}:judge")
        train(model, stripes(), None, own, optimisation(), PLAIN, 0, checkpoint=checkpoint, progress=False)
        return model

    trained(1, checkpoint)
    assert equal(state_of(trained(3, checkpoint)), state_of(trained(3, None)))
    monkeypatch.delitem(sys.modules, "hamp_user_own_loss")


def test_steps_are_counted_across_epochs() -> None:
    steps = []
    model = network()
    model.register_forward_hook(lambda *_: steps.append(model.training))
    history = train(model, stripes(), None, CLASSIFICATION, optimisation(), PLAIN, 0, steps=8, progress=False)
    assert steps == [True] * 8
    assert len(history) == 2
    assert np.isnan(history["error_validation"].to_numpy()).all()


def test_distillation_approaches_the_teacher() -> None:
    model = network(1)
    train(model, stripes(), None, CLASSIFICATION, optimisation(), PLAIN, 0, progress=False)
    images = stripes(seed=3)
    inputs = images.normalised(images.images)
    before = state_of(model)
    distances = []
    for distillation in (0.0, 1.0):
        student = network(2)
        given = {"teacher": teacher(model, images, "float32", "cpu"), "distillation": distillation, "progress": False}
        train(student, stripes(), None, CLASSIFICATION, optimisation(epochs=6), PLAIN, 0, **given)
        with torch.inference_mode():
            distances.append(float(soft_target_distance(student(inputs), model(inputs), 4.0)))
    assert distances[1] < distances[0] / 2
    assert equal(before, state_of(model))


@pytest.mark.parametrize("kept", [2**20, 100])
def test_networks_taught_side_by_side_are_those_taught_alone(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teaching, "KEPT", kept)
    passes = []
    model = network(1)
    lowered = teaching.lower

    def lower(*arguments: object) -> list[nn.Module]:
        (made,) = lowered(*arguments)
        made.register_forward_hook(lambda *_: passes.append(1))
        return [made]

    monkeypatch.setattr(teaching, "lower", lower)

    def taught(students: list[nn.Module]) -> list[list[torch.Tensor]]:
        own = teacher(model, stripes(), "float32", "cpu", features=True)
        passes.clear()
        settings = optimisation(epochs=2)
        given = {"teacher": own, "distillation": 0.5, "features": 1.0, "channels": torch.arange(8), "progress": False}
        augmented = blocks.Augment(crop=1, flip=True)
        trainings = [epochs(one, stripes(), None, CLASSIFICATION, settings, augmented, 0, **given) for one in students]
        rows = list(zip(*trainings, strict=True))
        assert len(rows) == 2
        assert not any(student.training for student in students)
        return [state_of(student) for student in students]

    together = taught([network(2), network(3)])
    steps = 2 * (96 // 16)
    assert len(passes) == (steps if kept == 2**20 else 2 * steps)  # either all lessons fit, or none
    alone = [taught([network(seed)])[0] for seed in (2, 3)]
    assert all(equal(one, two) for one, two in zip(together, alone, strict=True))


def test_a_loss_that_is_not_finite_is_told() -> None:
    with pytest.raises(UserError, match="lower learning_rate"):
        train(
            network(),
            stripes(),
            None,
            CLASSIFICATION,
            optimisation(learning_rate=1e20),
            PLAIN,
            0,
            progress=False,
        )


def test_the_learning_rate_rises_and_falls() -> None:
    settings = optimisation(warmup_fraction=0.2, learning_rate=0.5)
    rates = [descent.learning_rate(step, 50, settings) for step in range(50)]
    assert rates[9] == rates[10] == max(rates) == 0.5
    assert (np.diff(rates[:10]) > 0).all()
    assert (np.diff(rates[10:]) < 0).all()
    assert 0 < rates[-1] < 0.001
    assert rates[30] == pytest.approx(0.25)


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_a_step_is_that_of_torch_with_weight_decay_on_weights(momentum) -> None:
    ours, theirs = network(), network()
    theirs.load_state_dict(ours.state_dict())
    weights = [m.weight for m in theirs.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    rest = [p for p in theirs.parameters() if all(p is not weight for weight in weights)]
    torch_sgd = torch.optim.SGD(
        [{"params": weights, "weight_decay": 0.1}, {"params": rest}], 0.05, momentum, nesterov=momentum > 0
    )
    settings = optimisation(weight_decay=0.1, momentum=momentum)
    parameters = descent.trained(ours)
    momenta: descent.Momenta = {}
    for _ in range(4):
        inputs = torch.randn(8, 1, 8, 8)
        for model in (ours, theirs):
            model.zero_grad()
            model(inputs).square().mean().backward()
        descent.descend(parameters, momenta, 0.05, settings)
        torch_sgd.step()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert set(momenta) == (set(parameters) if momentum else set())


def test_what_has_no_gradient_or_is_not_trained_stays() -> None:
    model = network()
    frozen, unused, *others = model.parameters()
    frozen.requires_grad_(False)
    before = [p.detach().clone() for p in (frozen, unused)]
    parameters = descent.trained(model)
    for parameter in others:
        parameter.grad = torch.ones_like(parameter)
    descent.descend(parameters, {}, 0.1, optimisation(weight_decay=0.1))
    assert all(torch.equal(a, b) for a, b in zip(before, (frozen, unused), strict=True))


def test_training_and_judging_do_not_import_the_compiler() -> None:
    """Which takes as long to import as the rest of PyTorch."""
    code = """
import sys
import torch
from torch import nn
from hamp.configuration import blocks
from hamp.data.images import ImageSet
from hamp.training.evaluation import evaluate
from hamp.training.hardware import data_type
from hamp.training.loop import train
from hamp.training.tasks import task
pixels = torch.randint(0, 255, (8, 3, 8, 8), dtype=torch.uint8)
images = ImageSet(pixels, torch.arange(8), torch.arange(8) % 2, torch.zeros(3), torch.ones(3), ("a", "b"))
model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
settings = blocks.Finetune(epochs=1, batch_size=4)
train(model, images, None, task("classification"), settings, blocks.Augment(), 0, steps=2, progress=False)
evaluate(model, images, task("classification"), 4)
sys.exit(" ".join({"torch._dynamo", "sympy"} & set(sys.modules)) or None)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_crops_are_shifts_with_black_borders() -> None:
    images = torch.randint(1, 256, (40, 2, 6, 5), dtype=torch.uint8)
    out = augment(images, blocks.Augment(crop=2, flip=True), torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    seen = set()
    for image, pad in zip(out, padded, strict=True):
        found = [
            (top, left, flip)
            for top in range(5)
            for left in range(5)
            for flip in (False, True)
            if torch.equal(
                pad[:, top : top + 6, left : left + 5].flip(2) if flip else pad[:, top : top + 6, left : left + 5],
                image,
            )
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert {top for top, _, _ in seen} == {left for _, left, _ in seen} == set(range(5))
    assert {flip for _, _, flip in seen} == {False, True}
    assert torch.equal(augment(images, PLAIN, torch.Generator()), images)


def test_recalibration_gives_the_statistics_of_the_batches() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, momentum=0.3), nn.Dropout(0.5))
    batches = [torch.randn(8, 1, 6, 6) * 3 + position for position in range(4)]
    recalibrate(model, batches)
    with torch.inference_mode():
        features = [model[0](batch) for batch in batches]
    norm = model[1]
    assert torch.allclose(norm.running_mean, torch.stack([f.mean((0, 2, 3)) for f in features]).mean(0), atol=1e-5)
    assert torch.allclose(norm.running_var, torch.stack([f.var((0, 2, 3)) for f in features]).mean(0), rtol=1e-4)
    assert norm.momentum == 0.3
    assert not any(module.training for module in model.modules())
    before = state_of(model)
    recalibrate(model, [])
    assert equal(before, state_of(model))


def test_calibration_batches_are_training_images() -> None:
    images = stripes()
    batches = calibration_batches(images, PLAIN, 50, 16, 0)
    assert [len(batch) for batch in batches] == [16, 16, 16]
    known = {row.numpy().tobytes() for row in images.normalised(images.images)}
    drawn = [row.numpy().tobytes() for batch in batches for row in batch]
    assert len(set(drawn)) == 48
    assert set(drawn) <= known
    again = calibration_batches(images, PLAIN, 50, 16, 0)
    assert equal(batches, again)


def test_without_calibration_batches_the_statistics_stay() -> None:
    model, images = network(), stripes()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    recalibrate(model, calibration_batches(images, PLAIN, 0, 16, 0))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_images_are_drawn_from_all_classes() -> None:
    """In most data sets the images are in the order of their classes; in others every second one is of one."""
    images = stripes()
    in_order = replace(images, targets=images.targets.sort().values)
    for given in (images, in_order):
        drawn = given.drawn(24, seed=1)
        assert 4 <= int(drawn.targets.sum()) <= 20
        assert len(set(drawn.rows.tolist())) == 24
        assert all(torch.equal(drawn.targets[k], given.targets[row]) for k, row in enumerate(drawn.rows))
        assert torch.equal(drawn.rows, given.drawn(24, seed=1).rows)
        assert not torch.equal(drawn.rows, given.drawn(24, seed=2).rows)
    assert images.drawn(None, 0) is images.drawn(96, 0) is images


@pytest.mark.parametrize(("value", "kind"), [(-0.5, UserError), (2.0, UserError), (math.nan, Diverged)])
def test_errors_that_are_no_shares_are_refused(value: float, kind: type[UserError]) -> None:
    broken = replace(CLASSIFICATION, error=lambda outputs, targets: torch.full((len(targets),), value))
    with pytest.raises(UserError, match=r"must be in \[0, 1\]|is not a number") as caught:
        evaluate(network(), stripes(), broken, 32)
    assert type(caught.value) is kind


def test_a_candidate_that_cannot_be_trained_ends_no_search(capsys: pytest.CaptureFixture[str]) -> None:
    """Its error is 1; where the unpruned network cannot be, the setting is wrong."""
    images, model = stripes(), network()
    space = discover(model, torch.zeros(2, 1, 8, 8))
    scores = score(model, space, "l1")
    widths = np.stack([space.channels, space.repair(space.channels * 0.5)])
    table = candidates(widths, ["latin", "latin"])
    loss = CLASSIFICATION.loss
    fails = {"after": 2}

    def breaking(outputs: Any, targets: Tensor, smoothing: float) -> Tensor:
        fails["after"] -= 1
        return loss(outputs, targets, smoothing) * (math.nan if fails["after"] < 0 else 1.0)

    def errors() -> list[float]:
        found = evaluate_candidates(
            table,
            model,
            space,
            scores,
            images,
            images,
            replace(CLASSIFICATION, loss=breaking),
            blocks.Evaluate(images=32, batch_size=32, finetune_steps=2),
            PLAIN,
            seed=0,
            hardware="cpu",
        )
        return found["error"].to_pylist()

    first, second = errors()
    assert first < 1.0
    assert second == 1.0
    assert "counts as of error 1: " in capsys.readouterr().err
    with pytest.raises(UserError, match=r"^the unpruned network, evaluated as a candidate: .*lower learning_rate"):
        errors()


def test_a_candidate_is_let_go_of_before_the_next_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced networks refer to themselves, so that several would be in memory until Python looks for such."""
    images, model = stripes(), network()
    space = discover(model, torch.zeros(2, 1, 8, 8))
    alive: weakref.WeakSet[nn.Module] = weakref.WeakSet()
    before = []

    def counted(*arguments: Any) -> nn.Module:
        before.append(len(alive))
        alive.add(pruned := prune(*arguments))
        return pruned

    monkeypatch.setattr(sys.modules[evaluate_candidates.__module__], "prune", counted)
    widths = np.stack([space.repair(space.channels * share) for share in (1.0, 0.8, 0.6, 0.4)])
    settings = blocks.Evaluate(batch_size=32, recalibration_images=48, finetune_steps=0)
    rest = (model, space, score(model, space, "l1"), images, images, CLASSIFICATION, settings, PLAIN)
    evaluate_candidates(candidates(widths, ["uniform"] * 4), *rest, seed=0, hardware="cpu")
    assert before == [0, 0, 0, 0]


def test_an_error_depends_on_the_widths_and_settings_alone() -> None:
    """Not on the candidates beside it; the unpruned network is left alone."""
    images, model = stripes(), network()
    before = state_of(model)
    space = discover(model, torch.zeros(2, 1, 8, 8))
    scores = score(model, space, "l1")
    widths = np.stack([space.repair(space.channels * kept) for kept in (1.0, 0.7, 0.4)])
    table = candidates(widths, ["uniform"] * 3)

    def errors(part: pa.Table, refit: bool) -> list[float]:
        settings = blocks.Evaluate(batch_size=32, recalibration_images=48, finetune_steps=0, refit=refit)
        rest = (model, space, scores, images, images, CLASSIFICATION, settings, PLAIN)
        return evaluate_candidates(part, *rest, seed=0, hardware="cpu")["error"].to_pylist()

    found = {refit: errors(table, refit) for refit in (False, True)}
    for refit, together in found.items():
        apart = [errors(table[position : position + 1], refit)[0] for position in (2, 1, 0)]
        assert together == apart[::-1]
    assert found[False] != found[True]
    assert equal(before, state_of(model))


def test_a_member_that_diverges_stays_as_it_was_pruned(capsys: pytest.CaptureFixture[str]) -> None:
    """The others are trained; where the unpruned network diverges, the setting is wrong."""
    images, model = stripes(), network()
    space = discover(model, torch.zeros(2, 1, 8, 8))
    scores = score(model, space, "l1")
    half, third = (space.repair(space.channels * share) for share in (0.5, 0.3))

    def tuned(networks: dict[str, np.ndarray], breaks: tuple[int, ...]) -> tuple[dict[str, Tensor], list[float]]:
        calls = iter(range(10_000))

        def breaking(outputs: Any, targets: Tensor, smoothing: float) -> Tensor:
            return CLASSIFICATION.loss(outputs, targets, smoothing) * (math.nan if next(calls) in breaks else 1.0)

        weights, table = finetune(
            networks,
            model,
            space,
            scores,
            images,
            images,
            replace(CLASSIFICATION, loss=breaking),
            blocks.Finetune(epochs=2, batch_size=32),
            PLAIN,
            seed=0,
            hardware="cpu",
        )
        return weights, table["error_validation"].to_pylist()

    names = {"reference": space.channels, "half": half, "third": third}
    steps = len(images) // 32
    undisturbed, _ = tuned(names, ())
    weights, errors = tuned(names, (steps,))  # the first step of the second network
    assert "half: the loss is nan" in (told := capsys.readouterr().err)
    assert "it stays as it was pruned" in told
    as_pruned = prune(model, space, half, scores)
    recalibrate(as_pruned, calibration_batches(images, PLAIN, len(images), 32, seed_of(0, "recalibrate")))
    pruned = as_pruned.state_dict()
    for key, value in weights.items():
        candidate, _, name = key.partition("/")
        assert torch.equal(value, pruned[name] if candidate == "half" else undisturbed[key]), key
    assert all(0 <= error <= 1 for error in errors)
    with pytest.raises(Diverged, match=r"reference: the loss is nan"):
        tuned(names, (0,))


def test_the_error_does_not_depend_on_the_batches() -> None:
    model, images = network(), stripes()
    errors = {evaluate(model, images, CLASSIFICATION, size) for size in (1, 13, 96, 200)}
    with torch.inference_mode():
        wrong = model.eval()(images.normalised(images.images)).argmax(1) != images.targets
    assert errors == {float(wrong.double().mean())}


def test_own_task(tmp_path: Path) -> None:
    file = tmp_path / "regression.py"
    file.write_text(
        "def squares(outputs, targets):\n"
        "    squares = (outputs[:, 0] - targets.float()) ** 2\n"
        "    return squares.mean(), squares.clamp(max=1)\n"
        "def wrong(outputs, targets):\n    return outputs.sum(), outputs.sum()\n"
    )
    model = network()
    own = task(f"{file}:squares")
    history = train(model, stripes(), stripes(seed=1), own, optimisation(epochs=6), PLAIN, 0, progress=False)
    errors = history["error_validation"].to_numpy()
    assert errors[-1] < errors[0]
    assert errors.min() >= 0
    assert errors.max() <= 1
    with pytest.raises(UserError, match="the errors one an image"):
        evaluate(model, stripes(), task(f"{file}:wrong"), 16)
    with pytest.raises(UserError, match="'clasification' is unknown"):
        task("clasification")


def test_an_own_task_is_given_outputs_as_the_network_gives_them(tmp_path: Path) -> None:
    file = tmp_path / "named.py"
    file.write_text(
        "def masked(outputs, targets):\n"
        "    errors = (outputs.mask[:, 0] - targets.float()).abs().clamp(max=1)\n"
        "    return errors.mean() + outputs.box.mean(), errors\n"
    )
    Both = namedtuple("Both", ["mask", "box"])

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = network()

        def forward(self, x: Tensor) -> Any:
            outputs = self.body(x)
            return Both(outputs, outputs * 2)

    model, own = Two(), task(f"{file}:masked")
    train(model, stripes(), stripes(seed=1), own, optimisation(epochs=1), PLAIN, 0, progress=False)
    with pytest.raises(UserError, match=r"^task: '.*:masked' raised AttributeError in line 2: "):
        evaluate(network(), stripes(), own, 16)


def test_outputs_that_cannot_be_compared_are_not_distilled(tmp_path: Path) -> None:
    """Broadcast, they would give a distance that means nothing."""
    (tmp_path / "one.py").write_text("def task(outputs, targets): return outputs.mean(), outputs[:, 0]\n")
    distance, outputs = task(f"{tmp_path}/one.py:task").distance, torch.rand(4, 3)
    assert distance({"a": outputs}, {"a": outputs + 1}, 1.0) == pytest.approx(1)
    for pair in (
        ([outputs, outputs], outputs),
        ({"a": outputs, "aux": outputs}, {"a": outputs}),
        (outputs, outputs[:1]),
    ):
        with pytest.raises(UserError, match=r"^finetune\.distillation: .* set it to 0"):
            distance(*pair, 1.0)


def test_large_images_are_evaluated_fewer_at_a_time() -> None:
    assert batch_of(stripes(size=8)) == 256
    assert batch_of(stripes(count=2, size=512)) == 16
    assert batch_of(stripes(count=2, size=512), most=2048, pixels=2**27) == 512


def test_an_operator_without_a_deterministic_form_is_trained() -> None:
    class Unpooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            pooled, places = F.max_pool2d(self.conv(x), 2, return_indices=True)
            return self.last(F.max_unpool2d(pooled, places, 2).mean((2, 3)))

    with pytest.warns(UserWarning, match="deterministic"):
        train(Unpooled(), stripes(), None, task("classification"), optimisation(epochs=1), PLAIN, 0, progress=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_a_missing_gpu_is_told() -> None:
    with pytest.raises(UserError, match="no CUDA device"):
        evaluate(network(), stripes(), CLASSIFICATION, 16, hardware="cuda")


@pytest.mark.slow
def test_a_training_killed_at_random_moments_ends_in_the_same_bytes(tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(
        "import sys, torch\n"
        "from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_training import *\n"
        "from hamp.models.weights import save_weights\n"
        "torch.set_num_threads(1)\n"
        "model = network()\n"
        "arguments = (CLASSIFICATION, optimisation(epochs=40, average=0.9), blocks.Augment(crop=1), 3)\n"
        "checkpoint = Path(sys.argv[1] + '.checkpoint')\n"
        "train(model, stripes(512), stripes(seed=1), *arguments, checkpoint=checkpoint)\n"
        "save_weights(model, sys.argv[1])\n"
    )
    rng = np.random.default_rng()
    whole, killed = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    begun = time.monotonic()
    subprocess.run([sys.executable, str(script), str(whole)], check=True, capture_output=True)
    duration = time.monotonic() - begun
    kills = 0
    while kills < 5:
        job = subprocess.Popen([sys.executable, str(script), str(killed)], stderr=subprocess.DEVNULL)
        try:
            job.wait(rng.uniform(0.3, 0.7) * duration)
            break
        except subprocess.TimeoutExpired:
            os.kill(job.pid, signal.SIGKILL)
            job.wait()
            if killed.exists():  # It had done its work, and was about to end.
                break
            kills += 1
    assert kills
    subprocess.run([sys.executable, str(script), str(killed)], check=True, capture_output=True)
    assert whole.read_bytes() == killed.read_bytes()


def test_networks_that_are_not_fine_tuned_have_statistics_of_their_own() -> None:
    images, model = stripes(), network()
    train(model, images, None, CLASSIFICATION, optimisation(), PLAIN, 0, progress=False)
    space = discover(model, torch.zeros(2, 1, 8, 8))
    scores = score(model, space, "l1")
    networks = {"reference": space.channels, "half": space.repair(space.channels * 0.5)}
    arguments = (networks, model, space, scores, images, images, CLASSIFICATION)
    weights, _ = finetune(*arguments, blocks.Finetune(epochs=0, batch_size=32), PLAIN, seed=0, hardware="cpu")
    expected = prune(model, space, networks["half"], scores)
    recalibrate(expected, calibration_batches(images, PLAIN, len(images), 32, seed_of(0, "recalibrate")))
    for name, value in expected.state_dict().items():
        assert torch.equal(weights[f"half/{name}"], value), name
    for name, value in model.state_dict().items():
        assert torch.equal(weights[f"reference/{name}"], value), name
