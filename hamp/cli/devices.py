"""`hamp measure`, `hamp profile` and `hamp doctor`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hamp.cli.options import ResultsOption, folder_of
from hamp.configuration.blocks import Device
from hamp.errors import UserError

DeviceOption = Annotated[
    list[str] | None,
    typer.Option("--device", "-d", metavar="KEY=VALUE", help="A setting of the device; may be repeated."),
]


def measure(
    networks: Annotated[list[str], typer.Argument(help="Networks of the front by name, or ONNX files.")],
    results: ResultsOption = None,
    device: DeviceOption = None,
    rounds: Annotated[int, typer.Option(min=3, help="Rounds in which they are timed by turns.")] = 30,
    seconds: Annotated[float, typer.Option(min=0.1, help="At most this long for one network.")] = 5.0,
) -> None:
    """Measure networks by turns on a device: beside the unpruned one of their run, or the first of some ONNX files.

    Example: hamp measure 2e4fb1a4e403 --results results/digits --device runtime=onnxruntime --device batch_size=1
    """
    from hamp.candidates import UNPRUNED
    from hamp.configuration.blocks import Measure
    from hamp.hardware.measuring import measure as timed

    files = [name for name in networks if name.endswith(".onnx")]
    if files and len(files) < len(networks):
        raise UserError("measure either networks of a front or ONNX files, not both at once")
    if files:
        settings = changed(Device(runtime="onnxruntime", batch_size=1), device)
        prepared, reference = _files(files, settings), files[0]
    else:
        from hamp.hardware.devices import load
        from hamp.loading import load_parts
        from hamp.results import Results

        run = Results(folder_of(results))
        settings, reference = changed(run.settings.device, device), UNPRUNED
        found = [load_parts(run, name) for name in dict.fromkeys([UNPRUNED, *networks])]
        prepare = load(settings).prepare
        prepared = {item.candidate: prepare(item.network, item.shape, settings) for item in found}
    table = timed(prepared, settings, Measure(rounds=rounds, seconds=seconds), seed=0, reference=reference)
    width = max(map(len, prepared))
    for row in table.to_pylist():
        share = row["baseline_latency_ms"] / row["latency_ms"]
        half = row["latency_iqr_ms"] / 2
        print(f"{row['candidate']:<{width}}  {row['latency_ms']:>8.4g} ± {half:.2g} ms  {share:.3g} times as fast")


def profile(
    configuration: Annotated[Path, typer.Argument(help="A configuration (.yaml) with network and device.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File of the profile.")] = Path("profile.parquet"),
    device: DeviceOption = None,
    validate: Annotated[int, typer.Option(min=0, help="Check it on so many random networks more.")] = 0,
) -> None:
    """Learn a device before any search: time the network's layers over their widths, and some whole networks.

    Example: hamp profile config/experiments/mine.yaml --validate 20
    """
    from hamp.cli.configurations import described_network, read_configuration
    from hamp.hardware import profile as profiling
    from hamp.hardware.devices import available
    from hamp.hardware.predictor import baseline_of
    from hamp.seeding import seed_of
    from hamp.stages.space import space as space_of
    from hamp.tables import write

    settings = read_configuration(configuration)
    target = changed(settings.device, device)
    available(target)
    model, shape = described_network(settings)
    space = space_of(model, shape, settings.pruning)
    seed = seed_of(settings.seed, "profile")
    table = profiling.build(model, space, shape, target, settings.profile, None, seed)
    write(table, output)
    layers = sum(kind == "layer" for kind in table["kind"].to_pylist())
    print(
        f"{output}: unpruned network {baseline_of(table):.4g} ms; {layers} layers, {len(table) - layers} networks timed"
    )
    if validate:
        figures = profiling.validate(model, space, shape, target, settings.measure, None, seed, table, validate)
        print(figures.to_pandas().to_string(index=False, float_format=lambda value: f"{value:.3f}"))


def doctor(
    configuration: Annotated[Path | None, typer.Argument(help="A configuration, whose device is examined too.")] = None,
) -> None:
    """Say what is here, what is missing, and how noisy this machine is.

    Example: hamp doctor config/experiments/mine.yaml
    """
    from hamp.cli.configurations import read_configuration
    from hamp.hardware.examination import doctor as examine

    settings = read_configuration(configuration) if configuration else None
    found = examine(settings.device if settings else None)
    width = max(len(finding.subject) for finding in found)
    for finding in found:
        print(f"{finding.state:<8} {finding.subject:<{width}}  {finding.words}")
    if any(finding.state == "bad" for finding in found):
        raise typer.Exit(1)


def changed(device: Device, changes: list[str] | None) -> Device:
    """A device with some settings changed, each given as `key=value`.

    Raises:
        UserError: a key or a value is not allowed.
    """
    from hamp.configuration.validate import load

    values: dict[str, Any] = device.model_dump()
    for change in changes or []:
        key, separator, value = change.partition("=")
        if not separator:
            raise UserError(f"--device: '{change}' must be KEY=VALUE, as batch_size=1")
        values[key] = value
    latency = "predicted" if values.get("runtime") == "roofline" else "measured"
    return load({"device": values, "measure": {"latency": latency}}).device


def _files(files: list[str], settings: Device) -> dict[str, Any]:
    """ONNX files as runs of one batch."""
    import onnx

    from hamp.hardware.devices import onnxruntime
    from hamp.hardware.sessions import runner

    if settings.runtime != "onnxruntime":
        raise UserError(f"--device: runtime '{settings.runtime}' does not run ONNX files; 'onnxruntime' does")
    onnxruntime.available(settings)
    runs = {}
    for name in files:
        if not Path(name).is_file():
            raise UserError(f"{name}: no such file")
        model = onnx.load(name)
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = settings.batch_size
        provider, half = onnxruntime.provider(settings), settings.data_type == "float16"
        runs[name] = runner(model.SerializeToString(), provider, settings.threads, half)
    return runs
