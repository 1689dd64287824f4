"""`hamp measure`, `hamp profile` and `hamp doctor`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hamp.cli.options import ResultsOption, folder_of
from hamp.configuration.blocks import Device
from hamp.errors import UserError

DeviceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        "-d",
        metavar="KEY=VALUE|NAME",
        help="A setting of the device, or a further device by name; may be repeated.",
    ),
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
    from hamp.progress import digits

    files = [name for name in networks if name.endswith(".onnx")]
    if files and len(files) < len(networks):
        raise UserError("measure either networks of a front or ONNX files, not both at once")
    if files:
        settings = changed(Device(runtime="onnxruntime", batch_size=1), {}, device)
        prepared, reference = _files(files, settings), files[0]
    else:
        from hamp.hardware.devices import analytic, available, load
        from hamp.loading import load_parts
        from hamp.results import Results

        run = Results(folder_of(results))
        settings, reference = changed(run.settings.device, run.settings.devices, device), UNPRUNED
        if analytic(settings):
            raise UserError(
                f"--device: on the described device '{settings.description}' nothing is measured; name one that can "
                "be, as --device runtime=pytorch"
            )
        available(settings)
        found = [load_parts(run, name) for name in dict.fromkeys([UNPRUNED, *networks])]
        prepare = load(settings).prepare
        prepared = {item.candidate: prepare(item.network, item.shape, settings) for item in found}
    table = timed(prepared, settings, Measure(rounds=rounds, seconds=seconds), seed=0, reference=reference)
    width = max(map(len, prepared))
    for row in table.to_pylist():
        share = row["baseline_latency_ms"] / row["latency_ms"]
        half = row["latency_iqr_ms"] / 2
        told = f"{share:.3g} times as fast" + (
            " (within the noise)" if abs(share - 1) * row["latency_ms"] <= 2 * half else ""
        )
        told = "what the others are compared with" if row["candidate"] == reference else told
        print(f"{row['candidate']:<{width}}  {digits(row['latency_ms'], 4):>8} ± {digits(half, 2)} ms  {told}")


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
    from hamp.hardware.validation import told
    from hamp.progress import digits
    from hamp.seeding import seed_of
    from hamp.stages.space import space as space_of
    from hamp.tables import write

    settings = read_configuration(configuration)
    target = changed(settings.device, settings.devices, device)
    available(target)
    model, shape = described_network(settings)
    space = space_of(model, shape, settings.pruning)
    seed = seed_of(settings.seed, "profile")
    table = profiling.build(model, space, shape, target, settings.profile, None, seed)
    write(table, output)
    layers = sum(kind == "layer" for kind in table["kind"].to_pylist())
    unpruned = digits(baseline_of(table), 4)
    print(f"{output}: unpruned network {unpruned} ms; {layers} layers, {len(table) - layers} networks timed")
    if validate:
        figures = profiling.validate(model, space, shape, target, settings.measure, None, seed, table, validate)
        if not len(figures):
            raise UserError(
                "--validate: nothing to compare: a described device is not measured, and 3 networks are needed"
            )
        for row in figures.to_pylist():
            print(f"{row['way']:<13}  {told(row)}")


def doctor(
    configuration: Annotated[
        Path | None, typer.Argument(help="A configuration, whose devices are examined too.")
    ] = None,
) -> None:
    """Say what is here, what is missing, and how noisy this machine is; exit status 1 where something is bad.

    Example: hamp doctor config/experiments/mine.yaml
    """
    from hamp.cli.configurations import read_configuration
    from hamp.hardware.examination import doctor as examine

    settings = read_configuration(configuration) if configuration else None
    found = examine(settings.all_devices if settings else {})
    width = max(len(finding.subject) for finding in found)
    for finding in found:
        print(f"{finding.state:<8} {finding.subject:<{width}}  {finding.words}")
    if any(finding.state == "bad" for finding in found):
        raise typer.Exit(1)


def changed(device: Device, further: Mapping[str, Device], changes: list[str] | None) -> Device:
    """A device, or a further one where it is named, with some settings changed, each given as `key=value` (or `null`).

    Raises:
        UserError: a key, a value or a name is not allowed.
    """
    from hamp.configuration.validate import load
    from hamp.hardware.devices import OF_RUNTIME

    values: dict[str, Any] = device.model_dump()
    for change in changes or []:
        key, separator, value = change.partition("=")
        if separator:
            values[key] = None if value == "null" else value
        elif change in further:
            values = further[change].model_dump()
        else:
            named = f", or a further device ({', '.join(further)})" if further else ""
            raise UserError(f"--device: '{change}' must be KEY=VALUE, as batch_size=1{named}")
    runtime = values.get("runtime")
    if runtime != device.runtime:  # what only the former runtime had is not meant for this one
        given = {change.partition("=")[0] for change in changes or []}
        values |= {key: None for key, other in OF_RUNTIME.items() if runtime != other and key not in given}
    latency = "predicted" if runtime == "roofline" else "measured"
    return load({"device": values, "measure": {"latency": latency}}).device


def _files(files: list[str], settings: Device) -> dict[str, Any]:
    """ONNX files as a device measures them, for batches of its size."""
    from hamp.hardware.devices import available, load

    if settings.runtime not in ("onnxruntime", "remote"):
        raise UserError(f"--device: runtime '{settings.runtime}' runs no ONNX files; 'onnxruntime' and 'remote' do")
    available(settings)
    prepare = load(settings).prepare_file
    prepared = {}
    for name in files:
        try:
            prepared[name] = prepare(_of_batch(name, settings.batch_size), settings)
        except UserError as error:
            raise UserError(f"{name}: {str(error).removeprefix(f'{name}: ')}") from error
    return prepared


def _of_batch(name: str, batch_size: int) -> bytes:
    """An ONNX file with its batch size fixed."""
    import onnx

    try:
        model = onnx.load(name)
        (images,) = model.graph.input
    except FileNotFoundError:
        raise UserError(f"{name}: no such file") from None
    except Exception as error:  # protobuf's own error, which onnx does not name
        raise UserError(f"{name}: no ONNX file of one input ({str(error).splitlines()[0]})") from None
    sizes = images.type.tensor_type.shape.dim
    sizes[0].dim_value = batch_size
    if not all(size.dim_value > 0 for size in sizes):
        told = " x ".join(size.dim_param or str(size.dim_value) for size in sizes)
        raise UserError(f"{name}: the size of its input is open ({told}); export it for one size of images")
    return bytes(model.SerializeToString())
