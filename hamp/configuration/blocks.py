"""Every setting of a run: its type, default, range and meaning.

This is the one source. The JSON schema, `config/config.yaml` and the tables of `config/README.md` are made from
it (`hamp.configuration.document`). The defaults are the embedded run: handwritten digits on the CPU.

A block is what one stage (or a few) needs, so that a stage depends on its own settings and on nothing else.
"""

import difflib
import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from hamp.evolution.methods import METHODS

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


def _limit(value: float | str) -> float | str:
    """A positive number, or a positive percentage as text."""
    number = value.removesuffix("%") if isinstance(value, str) else value
    try:
        positive = 0 < float(number) < float("inf")
    except ValueError:
        positive = False
    if not positive or (isinstance(value, str) and not value.endswith("%")):
        raise ValueError("give a positive number, or a share of the unpruned network's such as '60%'")
    return value


NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""Of a run."""
Limit = Annotated[float | str, AfterValidator(_limit)]
Quantity = Literal["error", "latency_ms", "memory_bytes", "macs", "parameters", "energy_mj"]
# What each device has its own of.
DEVICE_QUANTITIES = ("latency_ms", "energy_mj")


def _objective(name: str) -> str:
    quantity, further, device = name.partition("@")
    known = get_args(Quantity)
    if name in known or (further and device and quantity in DEVICE_QUANTITIES):
        return name
    allowed = [*known, *(f"{item}@NAME" for item in DEVICE_QUANTITIES)]
    near = difflib.get_close_matches(name, allowed, n=1, cutoff=0.0)[0]
    raise ValueError(f"input should be {', '.join(map(repr, allowed))}; nearest is '{near}'")


Objective = Annotated[
    str,
    AfterValidator(_objective),
    WithJsonSchema(
        {"anyOf": [{"enum": list(get_args(Quantity))}, {"type": "string", "pattern": r"^(latency_ms|energy_mj)@.+$"}]}
    ),
]
Precision = Literal["auto", "float32", "bfloat16"]
if TYPE_CHECKING:
    MethodName = str
else:
    MethodName = Literal[tuple(METHODS)]


class Block(BaseModel):
    """A group of settings; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False, protected_namespaces=())


class Data(Block):
    """Where the images come from and how they are split."""

    source: str = Field(
        "digits",
        description="`digits` (ships with scikit-learn), a torchvision data set (`cifar10`, `cifar100`, "
        "`fashion_mnist`, `mnist`, `svhn`, `imagenet`, `image_folder`), `parquet` (columns `image`, encoded "
        "bytes, and `label`), or your own `path/to/file.py:callable`.",
    )
    root: str | None = Field(
        None,
        description="Folder of the data set; needed by every source but `digits` and your own callable. For "
        "`parquet`: holds `train.parquet` and, if there is one, `test.parquet`.",
    )
    download: bool = Field(False, description="Let torchvision download the data set into `root`.")
    image_size: int = Field(
        32, ge=8, le=1024, description="Pixels a side: the shorter side is scaled to it, the centre taken."
    )
    channels: Literal[1, 3] | None = Field(
        None,
        description="Images are made grey (1) or colour (3, as torchvision's networks take them); `null`: as they are. "
        "What is transparent in an image becomes white, and of 16 bits a pixel the upper eight are taken.",
    )
    validation_fraction: float = Field(
        0.3,
        gt=0.0,
        lt=1.0,
        description="Share of the training images held out to judge candidates in the search.",
    )
    test_fraction: float = Field(
        0.2,
        gt=0.0,
        lt=1.0,
        description="Share of all images held out for the final figures, where the source has no test set of its own.",
    )
    limit: int | None = Field(
        None,
        ge=1,
        description="At most this many images are taken of the source's training and of its test set.",
    )
    mean: list[float] | None = Field(
        None,
        description="Normalisation mean, one a channel: with `network.weights`, that which they were trained with; "
        "`null`: that of the training images.",
    )
    std: list[float] | None = Field(
        None,
        description="Normalisation standard deviation, one a channel, likewise.",
    )


class Augment(Block):
    """Random changes of a training image."""

    crop: int = Field(2, ge=0, le=64, description="Pad by this many pixels and crop at random; 0: no cropping.")
    flip: bool = Field(False, description="Mirror at random, left to right (not for digits).")


class Network(Block):
    """The network to prune."""

    name: str = Field(
        "resnet_small",
        description="`resnet_small`, `resnet20`, `resnet32`, `resnet44`, `resnet56`, `resnet110`, `vgg16_bn_small`, "
        "`mobilenet_v1_small`, a torchvision classification network as `torchvision:NAME`, or your own as "
        "`path/to/file.py:callable` (the file may import what is beside it; a change of them reruns the stages that "
        "use them) or, of an installed package, as `module:callable`.",
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict,
        description="Keyword arguments for the callable. torchvision's own weights of `googlenet` and `inception_v3` "
        "want `{transform_input: true}`.",
    )
    weights: str | None = Field(
        None,
        description="Trained weights: `.safetensors`, `.pt`, `.pth` or `.th`; `null`: the `pretrain` stage trains.",
    )


class Optimisation(Block):
    """Stochastic gradient descent with Nesterov momentum and a cosine schedule."""

    epochs: int = Field(ge=0, le=10_000, description="Passes over the training images.")
    batch_size: int = Field(64, ge=1, description="Images a step.")
    learning_rate: float = Field(0.1, gt=0.0, description="Peak learning rate.")
    warmup_fraction: Fraction = Field(0.1, description="Share of the steps in which the learning rate rises.")
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="Nesterov momentum.")
    weight_decay: float = Field(5e-4, ge=0.0, description="Weight decay; not on biases and normalisation.")
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0, description="Label smoothing (classification only).")
    average: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Decay a step of an exponential moving average of the weights, which is then the result; 0: none.",
    )
    precision: Precision = Field(
        "float32",
        description="`bfloat16`: mixed precision, with float32 weights; `auto`: that where the processor or GPU has "
        "instructions for bfloat16, else float32.",
    )


class Pretrain(Optimisation):
    """Training of the unpruned network, where no weights are given."""

    epochs: int = Field(8, ge=0, le=10_000, description="Passes over the training images.")


class Finetune(Optimisation):
    """Fine-tuning of the front members after the search, and of the unpruned network for comparison."""

    epochs: int = Field(3, ge=0, le=10_000, description="Passes over the training images.")
    learning_rate: float = Field(0.02, gt=0.0, description="Peak learning rate.")
    distillation: Fraction = Field(
        0.5, description="Weight of the distance to the unpruned network's outputs in the loss; 0: none."
    )
    temperature: float = Field(4.0, gt=0.0, description="Softening of the outputs in distillation.")
    features: float = Field(
        0.0,
        ge=0.0,
        description="Weight of the distance to the unpruned network's last features, position by position before the "
        "classifier pools or flattens them, which is added to the loss; 0: none.",
    )
    members: int = Field(20, ge=1, le=1000, description="At most this many members of the front are fine-tuned.")
    shards: int = Field(2, ge=1, le=1000, description="Jobs among which the members are shared out.")


class Pruning(Block):
    """What may be removed."""

    channel_multiple: int = Field(1, ge=1, description="Widths are multiples of this (or the full width).")
    channel_multiple_of: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict,
        description="The same of single devices, by name (`device` for block `device`): `{device: 8, nano: 16}`; "
        "widths are then multiples of all of them.",
    )
    minimum_fraction: float = Field(0.06, gt=0.0, le=1.0, description="Least share of its channels that a group keeps.")
    exclude: list[str] = Field(
        default_factory=list, description="Patterns (shell style) of layer names whose groups stay whole."
    )
    keep_first: bool = Field(True, description="Leave the output of the first convolution whole.")
    branch_removal: bool = Field(
        False, description="A group inside a residual branch may go to width 0, which removes the branch."
    )

    @property
    def multiple(self) -> int:
        """What the widths are multiples of on all devices."""
        return math.lcm(self.channel_multiple, *self.channel_multiple_of.values())


class Device(Block):
    """Where the pruned network will run: hardware, runtime, data type, batch size and threads."""

    runtime: Literal["pytorch", "onnxruntime", "remote", "roofline"] = Field(
        "pytorch",
        description="`pytorch`, `onnxruntime`, `remote` (ONNX Runtime on another machine, over ssh), or `roofline` "
        "(a described device: nothing is measured on it).",
    )
    hardware: Literal["cpu", "cuda"] = Field("cpu", description="Processor on which the runtime works.")
    data_type: Literal["float32", "float16", "bfloat16"] = Field(
        "float32",
        description="Type in which the network computes; for ONNX Runtime `float16` needs `provider: tensorrt`.",
    )
    batch_size: int = Field(16, ge=1, description="Images in one inference.")
    threads: int = Field(1, ge=1, le=1024, description="Threads of one inference (CPU).")
    cuda_graphs: bool = Field(False, description="Replay inference as one CUDA graph (`pytorch` on `cuda`).")
    provider: Literal["cpu", "cuda", "tensorrt"] | None = Field(
        None, description="Execution provider of ONNX Runtime, on which it works; `null`: that of `hardware`."
    )
    host: str | None = Field(None, description="For `remote`: the name of the machine, as your ssh knows it.")
    ssh: list[str] = Field(["ssh"], min_length=1, description="For `remote`: the ssh command and its options.")
    python: str = Field("python3", description="For `remote`: the Python there; it needs the package onnxruntime.")
    description: str | None = Field(
        None, description="For `roofline`: name of a file in `resources/devices/`, or a path to one of your own."
    )

    @property
    def processor(self) -> Literal["cpu", "cuda"]:
        """What networks run on: where ONNX Runtime's execution provider is named, that decides, not `hardware`."""
        return "cpu" if (self.provider or self.hardware) == "cpu" else "cuda"


class Measure(Block):
    """How latency is found, in the search and for the final front."""

    latency: Literal["predicted", "measured"] = Field(
        "measured",
        description="Latency of candidates in the search: `predicted` from the profile, or `measured` on the device.",
    )
    rounds: int = Field(15, ge=3, description="Rounds in which the networks are timed by turns.")
    warmup: int = Field(3, ge=1, description="Runs of each network before the first round, at least.")
    seconds: float = Field(1.0, gt=0.0, description="At most this long is spent on one candidate.")


class Profile(Block):
    """What is learnt of the device before the search."""

    points: int = Field(6, ge=2, le=64, description="Widths at which each layer is timed, a layer and side.")
    networks: int = Field(8, ge=3, le=200, description="Random whole networks timed to correct the sum of layers.")
    rounds: int = Field(15, ge=3, description="Rounds of timing.")
    seconds: float = Field(60.0, gt=0.0, description="Time budget of the whole profile.")


class Validation(Block):
    """How the profile's predictions are put to the test, on a device that can be measured."""

    networks: int | None = Field(
        20,
        ge=3,
        le=1000,
        description="Random whole networks, none of them in the profile, that are measured (block `measure`) and "
        "compared with their predictions in the report; `null`: none.",
    )


class Evaluate(Block):
    """How the error of a candidate is found."""

    images: int = Field(2000, ge=1, description="Validation images on which a candidate is judged, at most.")
    recalibration_images: int = Field(
        512, ge=0, description="Training images on which BatchNorm statistics are found anew after pruning."
    )
    refit: bool = Field(
        False,
        description="Fit the weights of each convolution and linear layer, on those images in one batch (take fewer of "
        "large ones), to what it gave in the unpruned network. On a ResNet-20 that takes less time than 5 training "
        "steps and is worth more than 16, so `finetune_steps` can be 0.",
    )
    finetune_steps: int = Field(6, ge=0, description="Training steps before a candidate is judged.")
    learning_rate: float = Field(0.02, gt=0.0, description="Learning rate of those steps.")
    batch_size: int = Field(128, ge=1, description="Images a batch.")
    precision: Precision = Field(
        "float32",
        description="Of the search's evaluations; what is reported is always float32. `auto`: bfloat16 where the "
        "processor or GPU has instructions for it, else float32; name one of them where the nodes of a cluster "
        "differ. With bfloat16, images on which its rounding may decide are judged in float32 again "
        "(classification only).",
    )


class Search(Block):
    """Size and length of the search."""

    population: int = Field(20, ge=4, le=10_000, description="Candidates that survive a generation.")
    offspring: int = Field(16, ge=1, le=10_000, description="New candidates a generation, each truly evaluated.")
    generations: int = Field(7, ge=0, le=10_000, description="Generations after the initial population.")
    patience: int | None = Field(
        None, ge=1, description="Stop when the front has not grown for this many generations; `null`: never."
    )
    tolerance: float = Field(1e-3, ge=0.0, description="Relative growth of the hypervolume that counts as growth.")
    generations_of: dict[MethodName, Annotated[int, Field(ge=0, le=10_000)]] = Field(
        default_factory=dict,
        description="Generations of single methods, where another number is fair: `{netadapt: 30}`, since NetAdapt "
        "evaluates as many candidates a generation as the space has groups.",
    )
    initial: list[Literal["uniform", "sensitivity", "latin"]] = Field(
        ["uniform", "latin"],
        min_length=1,
        description="What the initial population holds beside the unpruned network, in equal parts: `uniform` (one "
        "fraction for all groups), `sensitivity` (groups that the error depends on are cut less; a stage of its own "
        "finds out which), `latin` (Latin hypercube).",
    )
    surrogates: list[Literal["gp", "ridge", "trees"]] = Field(
        ["gp", "ridge", "trees"],
        min_length=1,
        description="Models to try in each generation: Gaussian process, quadratic ridge regression, extra trees.",
    )
    netadapt_step: float = Field(
        0.04, gt=0.0, lt=1.0, description="Latency cut of a NetAdapt iteration, as a share of the unpruned network's."
    )

    def last(self, method: str) -> int:
        """Number of a method's last generation."""
        return self.generations_of.get(method, self.generations)


class Sensitivity(Block):
    """How it is found how much the error depends on each group (where `search.initial` asks for it)."""

    images: int = Field(500, ge=1, description="Validation images, at most.")
    fractions: list[Annotated[float, Field(gt=0.0, lt=1.0)]] = Field(
        [0.5, 0.25], min_length=1, description="Shares of its channels that a group keeps in turn, all others whole."
    )


class Portfolio(Block):
    """What the final front is chosen for, and survivors where the method selects them by portfolio."""

    value: Literal["hypervolume", "tchebycheff"] = Field(
        "hypervolume",
        description="What a portfolio is worth: the volume that it dominates, or how far it reaches in each scenario.",
    )
    preferences: dict[Objective, Annotated[float, Field(ge=0.01, le=100)]] = Field(
        default_factory=dict,
        description="Weights of objectives, 1 where none is given; the search looks more where the weight is greater.",
    )
    limits: dict[Objective, Limit] = Field(
        default_factory=dict,
        description="Largest acceptable values, each a number in the objective's unit or a share of the unpruned "
        "network's: `{latency_ms: 60%}`, `{latency_ms: 3.0, error: 0.2}` (milliseconds, and a fraction). The error is "
        "that in the search, before fine-tuning: set it well above what you want in the end. Most of the population "
        "is kept inside; what is beyond is not fine-tuned, unless all of the front is.",
    )


class Config(Block):
    """A whole run."""

    name: str = Field("digits", pattern=NAME, description="Results go to `results/<name>/`.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the data split, pre-training and fine-tuning.")
    seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field([0], min_length=1, description="One search each.")
    methods: list[MethodName] = Field(
        ["hamp"], min_length=1, description="Search methods to run, each with every seed."
    )
    objectives: list[Objective] = Field(
        ["error", "latency_ms", "memory_bytes"],
        min_length=2,
        description="What the search minimises. `latency_ms` and `energy_mj` (where the device tells its energy) are "
        "those of block `device`; `latency_ms@NAME` and `energy_mj@NAME` those of a further device.",
    )
    devices: dict[str, Device] = Field(
        default_factory=dict,
        description="Further devices by name, each with the keys of block `device`, for objectives such as "
        "`latency_ms@NAME`. A described one is predicted also where `measure.latency` is `measured`.",
    )
    task: str = Field(
        "classification",
        description="`classification`, or your own `path/to/file.py:callable` that gives loss and error of a batch.",
    )
    hardware: Literal["cpu", "cuda"] = Field("cpu", description="Where networks are trained and evaluated.")
    threads: int = Field(1, ge=1, le=1024, description="Threads of one training or evaluation job.")
    shards: int = Field(
        2, ge=1, le=10_000, description="Jobs among which the candidates of a generation are shared out."
    )
    importance: Literal["l1", "l2", "bn_scale", "fpgm", "taylor", "random"] = Field(
        "l1", description="Score by which the channels of a group are ranked; the lowest go first."
    )
    data: Data = Field(default_factory=Data, description="Images.")
    augment: Augment = Field(default_factory=Augment, description="Augmentation of training images.")
    network: Network = Field(default_factory=Network, description="Network.")
    pretrain: Pretrain = Field(default_factory=Pretrain, description="Pre-training.")
    pruning: Pruning = Field(default_factory=Pruning, description="Space of the pruned networks.")
    device: Device = Field(default_factory=Device, description="Target device.")
    profile: Profile = Field(default_factory=Profile, description="Profile of the device.")
    validation: Validation = Field(default_factory=Validation, description="Test of the profile's predictions.")
    measure: Measure = Field(default_factory=Measure, description="Measuring.")
    search: Search = Field(default_factory=Search, description="Search.")
    sensitivity: Sensitivity = Field(default_factory=Sensitivity, description="Sensitivity of the groups.")
    portfolio: Portfolio = Field(default_factory=Portfolio, description="What the front is chosen for.")
    evaluate: Evaluate = Field(default_factory=Evaluate, description="Evaluation of candidates.")
    finetune: Finetune = Field(default_factory=Finetune, description="Fine-tuning of the front.")

    @property
    def all_devices(self) -> dict[str, Device]:
        """Block `device` under the name "", and the further devices under theirs."""
        return {"": self.device, **self.devices}
