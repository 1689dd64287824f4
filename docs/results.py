"""docs/results.md and its pictures in docs/images, from the small tables kept in docs/data.

python docs/results.py                    write them again
python docs/results.py keep RESULTS...    first copy the small tables of finished runs (results/<name>) there
python docs/results.py time RESULTS...    first time the members of an experiment and of the methods beside it together
"""

import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from hamp.candidates import REFERENCE, UNPRUNED
from hamp.configuration.blocks import Measure
from hamp.hardware import fingerprint
from hamp.hardware.devices import load
from hamp.hardware.measuring import measure
from hamp.hardware.profile import time_networks
from hamp.loading import load_parts
from hamp.report.build import MAKERS
from hamp.report.device import costs
from hamp.report.style import figure, signs, styled
from hamp.results import Results
from hamp.stages.read import read_space
from hamp.stages.scores import read_scores
from hamp.tables import HYPERVOLUME, LATENCY, MEASURED, MEMBERS, matrix, read, write

DOCS = Path(__file__).parent
DATA = DOCS / "data"
KEPT = (
    "settings.yaml",
    "pareto/*.parquet",
    "front/remeasured.parquet",
    "compare/*.parquet",
    "profile/validation.parquet",
)
PYTORCH, TOGETHER = "pytorch.parquet", "together.csv"
SPEEDS = (1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.5, 2.8, 3.0)
FINE = np.arange(12, 31) / 10
COMPARED = {"seed1": "hamp, seed 1", "seed2": "hamp, seed 2", "netadapt": "NetAdapt", "l1": "uniform L1"}
"""Suffixes of the names of runs with config/competitors that are shown beside the experiment, and what to call them."""


def keep(folder: Path) -> None:
    """Copy a finished run's small tables to docs/data, with their places in the run's folder; what was there, such as
    what `together` found, is of another run and goes."""
    folder = folder.resolve()  # which has a name, also where it is `.`
    results = Results(folder)
    archives = [
        results.generation(search, results.settings.search.last(search[0])) / "archive.parquet"
        for search in results.searches
    ]
    target = DATA / folder.name
    shutil.rmtree(target, ignore_errors=True)
    for file in (*archives, *(found for pattern in KEPT for found in folder.glob(pattern))):
        place = target / file.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    seconds(results).to_csv(target / "seconds.csv")
    if ended(results) and results.settings.device.runtime == "onnxruntime":
        write(in_pytorch(results), target / PYTORCH)


def together(runs: Sequence[Results]) -> pd.DataFrame:
    """The fine-tuned members of several runs on one network, their errors, and their latencies of one session.

    Sessions differ by more than the methods do, and where one is noisy, more networks of a front count as equal.
    """
    first = runs[0]
    members = {results.folder.name: read(results.folder / "front" / "members.parquet", MEMBERS) for results in runs}
    widths = np.unique(np.concatenate([matrix(table) for table in members.values()]), axis=0)
    unpruned = load_parts(first, UNPRUNED)
    space = read_space(first.folder / "space" / "space.parquet")
    scores = read_scores(first.folder / "space" / "scores.parquet")
    device, long = first.settings.device, Measure(rounds=500, seconds=5.0)
    timed = time_networks(unpruned.network, space, unpruned.shape, widths, device, long, scores, seed=0)
    faster = {row["candidate"]: row["baseline_latency_ms"] / row["latency_ms"] for row in timed.to_pylist()}
    rows = []
    for name, table in members.items():
        errors = {row["candidate"]: row["error_test"] for row in read_rows(first.folder.parent / name, "tested")}
        judged = {
            row["candidate"]: row["error_validation"] for row in read_rows(first.folder.parent / name, "finetuned")
        }
        for candidate in [REFERENCE, *table["candidate"].to_pylist()]:
            speed = faster.get(candidate, 1.0)
            error = [round(100 * of[candidate], 2) for of in (judged, errors)]
            rows.append((name, candidate, round(speed, 3), *error))
    columns = ["run", "network", "times faster", "validation error (%)", "test error (%)"]
    return pd.DataFrame(rows, columns=columns)


def read_rows(folder: Path, kind: str) -> list[dict]:
    """The rows of the tables of a kind in the folder `front`, of all shards."""
    return [
        row for file in sorted((folder / "front").glob(f"{kind}*.parquet")) for row in pq.read_table(file).to_pylist()
    ]


def ended(results: Results) -> bool:
    """Whether a run was brought to its front; of others there are the searches."""
    return (results.folder / "pareto" / "front.parquet").is_file()


def in_pytorch(results: Results) -> pa.Table:
    """The front timed in PyTorch too, by turns with the unpruned network, table LATENCY."""
    device = results.settings.device.model_copy(update={"runtime": "pytorch"})
    prepare = load(device).prepare
    found = [load_parts(results, name) for name in (UNPRUNED, *results.front["candidate"].to_pylist())]
    prepared = {item.candidate: prepare(item.network, item.shape, device) for item in found}
    return measure(prepared, device, Measure(), seed=0)


def seconds(results: Results) -> pd.DataFrame:
    """Jobs and seconds of every stage of a run, as Snakemake recorded them."""
    spent = costs(results.folder / "benchmarks", results.settings)
    rows = {stage: {"jobs": cost.jobs, "seconds": round(cost.seconds, 1)} for stage, cost in sorted(spent.items())}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("stage")


def front_of(results: Results) -> pd.DataFrame:
    """The front with what it gains: errors in percent, ratios to the unpruned network."""
    front = results.front.to_pandas()
    unpruned = results.unpruned
    rows = pd.DataFrame(
        {
            "network": front["candidate"],
            "test error (%)": 100 * front["error_test"],
            "change (points)": 100 * (front["error_test"] - front["reference_error_test"]),
            "latency (ms)": front["latency_ms"],
            "times faster": front["baseline_latency_ms"] / front["latency_ms"],
            "predicted": front["baseline_latency_ms"] / front["latency_predicted_ms"],
            "memory (MB)": front["memory_bytes"] / 1e6,
            "times smaller": unpruned["memory_bytes"] / front["memory_bytes"],
            "times fewer MACs": unpruned["macs"] / front["macs"],
        }
    )
    if (file := results.folder / PYTORCH).is_file():
        timed = read(file, LATENCY).to_pandas().set_index("candidate").loc[front["candidate"]]
        faster = (timed["baseline_latency_ms"] / timed["latency_ms"]).to_numpy()
        rows.insert(rows.columns.get_loc("times faster") + 1, "in PyTorch", faster)  # type: ignore[arg-type]
    return rows


FORMATS = {
    "error in the search (%)": "{:.2f}",
    "the same on test images (%)": "{:.2f}",
    "validation error (%)": "{:.2f}",
    "times fewer parameters": "{:.2f}",
    "test error (%)": "{:.2f}",
    "change (points)": "{:+.2f}",
    "latency (ms)": "{:.3f}",
    "times faster": "{:.2f}",
    "in PyTorch": "{:.2f}",
    "predicted": "{:.2f}",
    "memory (MB)": "{:.2f}",
    "times smaller": "{:.2f}",
    "times fewer MACs": "{:.2f}",
}


def markdown(rows: pd.DataFrame) -> str:
    """A Markdown table."""
    text = rows.copy().astype(object)
    for column in rows:
        text[column] = [FORMATS.get(str(column), "{}").format(value) for value in rows[column]]
    lines = [" | ".join(map(str, text.columns)), " | ".join(["---"] * text.shape[1])]
    lines += [" | ".join(map(str, row)) for row in text.itertuples(index=False)]
    return "\n".join(f"| {line} |" for line in lines)


def experiment(results: Results) -> Iterable[str]:
    """What one run found, how it was measured, and what it cost."""
    settings, front = results.settings, results.front.to_pandas()
    evaluations = sum(len(archive) for archive in results.archives.values())
    facts = fingerprint.of(read(results.folder / "front" / "remeasured.parquet", MEASURED))
    reference, given = front["reference_error_test"][0], front["baseline_error_test"][0]
    yield f"`{settings.network.name}` on `{settings.data.source}`, {evaluations} true evaluations of the search."
    yield f"Unpruned: test error {100 * given:.2f}% as given, {100 * reference:.2f}% when fine-tuned as the others are."
    yield "Device: " + ", ".join(f"{key} {value}" for key, value in facts.items() if value) + "."
    yield markdown(front_of(results))
    spent = pd.read_csv(results.folder / "seconds.csv")
    told = ", ".join(f"{row.stage} {row.seconds:.0f} ({row.jobs})" for row in spent.itertuples())
    yield f"Seconds of the stages (jobs), {spent['seconds'].sum():.0f} together: {told}."


def hypervolumes(methods: dict[str, Results]) -> Iterable[str]:
    """What the searches of each method reached, before fine-tuning."""
    yield (
        "Hypervolume of all that the searches evaluated, before fine-tuning, over (error / 0.9, each other objective /"
        " the unpruned network's) with reference point 1: mean over the seeds, and in brackets the least and the most."
    )
    ends = pd.concat(
        read(results.folder / "pareto" / "hypervolume.parquet", HYPERVOLUME)
        .to_pandas()
        .groupby(["method", "seed"], as_index=False)
        .last()
        .assign(method=method.partition(",")[0])  # whose seeds count together
        for method, results in methods.items()
    )
    rows = [
        {
            "method": method,
            "searches": len(found),
            "evaluations of each": round(found["evaluations"].mean()),
            "hypervolume": "{:.4f} ({:.4f} … {:.4f})".format(*found["hypervolume"].agg(["mean", "min", "max"])),
        }
        for method, found in ends.groupby("method", sort=False)
    ]
    yield markdown(pd.DataFrame(rows))
    if len(methods) > 1:
        yield (
            "Least error (%) of all networks that a search evaluated and that are at least so many times faster, as"
            " judged and measured in the search."
        )
        archives = {method: next(iter(results.archives.values())) for method, results in methods.items()}
        yield at_speeds({method: partial(least_error, archive) for method, archive in archives.items()})


def least_error(archive: pa.Table, speed: float) -> float:
    """Error in percent of the best of an archive that are so many times faster than its first, the unpruned network."""
    fast = archive["latency_ms"].to_numpy() <= archive["latency_ms"][0].as_py() / speed
    return float(100 * archive["error"].to_numpy()[fast].min(initial=np.inf))


def lines_of(methods: dict[str, Results]) -> dict[str, pd.DataFrame]:
    """By method, times faster and test error of the unpruned network, fine-tuned as the others are, and of those that
    none beats in both speed and validation error."""
    file = methods["hamp"].folder / TOGETHER
    if not file.is_file():
        return {}
    rows = pd.read_csv(file).sort_values("times faster", ignore_index=True)
    lines = {}
    for method, results in methods.items():
        own = rows[rows["run"] == results.folder.name]
        least = own["validation error (%)"][::-1].cummin()[::-1]  # of all that are at least as fast
        lines[method] = own[own["validation error (%)"] <= least]
    return {method: line for method, line in lines.items() if len(line)}


def at_speed(line: pd.DataFrame, speed: float) -> float:
    """Test error at a speed-up, linearly between neighbours of a line; infinite beyond its end."""
    return float(np.interp(speed, line["times faster"], line["test error (%)"], right=np.inf))


def at_speeds(errors: dict[str, Callable[[float], float]], speeds: Sequence[float] = SPEEDS) -> str:
    """A table of errors at speed-ups, a column for each function of one; –: there is none."""
    columns = {
        name: ["–" if np.isinf(value := error(speed)) else f"{value:.2f}" for speed in speeds]
        for name, error in errors.items()
    }
    return markdown(pd.DataFrame({"times faster": speeds, **columns}))


def comparison(name: str, lines: dict[str, pd.DataFrame]) -> Iterable[str]:
    """Test error of several methods at common measured speed-ups."""
    yield (
        "The same evaluation, fine-tuning and measuring, with another method in place of the search:"
        f' `make run CONFIG="config/experiments/{name}.yaml config/competitors/METHOD.yaml"`. Test error (%) at common'
        " measured speed-ups, linearly between the networks next to it, the first of which is the unpruned one; –:"
        " beyond the front. All were timed by turns in one session (`python docs/results.py time`), so that figures"
        " differ a little from those above; those count that none of the same run beats in both speed and validation"
        " error. Another seed has four members fine-tuned, the first and NetAdapt six, uniform L1 three. An error of"
        " 13% on 10,000 images has a standard error of 0.34 points, so smaller differences say little: most of what"
        " the searches are ahead of NetAdapt by before fine-tuning is gone after it."
    )
    errors: dict[str, Callable[[float], float]] = {m: partial(at_speed, line) for m, line in lines.items()}
    seeds = {method: error for method, error in errors.items() if method.partition(",")[0] == "hamp"}
    if len(seeds) > 1:
        mean = {"hamp, mean of the seeds": lambda speed: float(np.mean([error(speed) for error in seeds.values()]))}
        errors = seeds | mean | errors
    yield at_speeds(errors)
    yield from against(errors)
    yield f"![Test error against measured speed-up, by method](images/{name}-methods.png)"


def against(errors: dict[str, Callable[[float], float]]) -> Iterable[str]:
    """At how many speed-ups each search of `hamp`, and their mean, is ahead of each other method."""
    ours = [method for method in errors if method.partition(",")[0] == "hamp"]
    if others := [method for method in errors if method not in ours]:
        yield (
            f"At how many of the {len(FINE)} speed-ups {FINE[0]}, {FINE[1]}, … {FINE[-1]} an error is smaller, equal or"
            " larger than another method's; those at which either has none are left out."
        )
        rows = []
        for method, other in product(ours, others):
            pairs = np.array([[errors[name](speed) for name in (method, other)] for speed in FINE])
            one, two = pairs[np.isfinite(pairs).all(axis=1)].T
            counts = {"smaller": (one < two).sum(), "equal": (one == two).sum(), "larger": (one > two).sum()}
            difference = f"{(one - two).mean():+.2f}" if len(one) else "–"
            rows.append({"error of": method, "beside": other, **counts, "mean difference (points)": difference})
        yield markdown(pd.DataFrame(rows))


def comparison_figure(lines: dict[str, pd.DataFrame]) -> Figure:
    """Test error against measured speed-up, a line a method."""
    made, (axes,) = figure(7.5, 4.6)
    for (method, line), (colour, marker, dashes) in zip(lines.items(), signs(), strict=False):
        axes.plot(line["times faster"], line["test error (%)"], color=colour, marker=marker, ls=dashes, label=method)
    axes.set(title="After the same fine-tuning", xlabel="times faster, as measured", ylabel="test error (%)")
    axes.legend()
    return made


def foreseen() -> Iterable[str]:
    """What, before fine-tuning, tells the error after it: of networks of several methods, fine-tuned alike."""
    rows = pd.read_csv(DATA / "finetuned.csv", keep_default_na=False)
    members = rows[rows["chosen by"] == "its search"]
    truth = np.log(members["test error (%)"].to_numpy())
    ways = {
        "the error in the search": ["error in the search (%)"],
        "the same on images that the weights were not trained on": ["the same on test images (%)"],
        "multiply-adds and parameters": ["times fewer MACs", "times fewer parameters"],
        "the validation error after fine-tuning": ["validation error (%)"],
    }
    yield "## What the search does not see"
    yield (
        "An earlier run of the ResNet-20 experiment (`docs/data/finetuned.yaml`), whose candidates were trained for 16"
        " steps before they were judged, instead of fitted, and whose members for nine epochs; beside it NetAdapt (127"
        " evaluations in larger steps) and uniform L1. One seed, float32, AMD EPYC (Zen 3), all latencies in one"
        " session. The last row is the unpruned network, fine-tuned as long."
    )
    yield markdown(rows)
    told = "; ".join(
        f"{way} {100 * left_out([np.log(members[name].to_numpy()) for name in names], truth):.1f}%"
        for way, names in ways.items()
    )
    chosen = rows[rows["chosen by"] != "capacity"]
    lines = {
        method: chosen[chosen["method"].isin(["", method])].sort_values("times faster")
        for method in ("hamp", "NetAdapt", "uniform L1")
    }
    yield "Test error (%) at common measured speed-ups, linearly between the networks next to it; –: beyond the front."
    speeds = (1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4)
    yield at_speeds({method: partial(at_speed, line) for method, line in lines.items()}, speeds)
    yield (
        f"How far a line through the logarithms is off from the test error of each of the {len(members)} networks"
        f" that `hamp` and NetAdapt chose, as foreseen from the other {len(members) - 1}, by what is known: {told}. So"
        " what a network can still learn counts beside what a little training has left of it, and images that the given"
        " weights were trained on flatter networks that remember them; `hamp`, which goes by the error in the search,"
        " is ahead of NetAdapt in the middle, and level with it at both ends. The networks chosen by *capacity* were"
        " evaluated in the same search of `hamp`, which passed them over. They were fine-tuned afterwards, since a line"
        " through multiply-adds and parameters of all others foresaw 13.5 and 12.8% of them: the faster one came out"
        " better than what is as fast, the other did not, and both worse than foreseen. Beyond what a search has"
        " seen, the line is of no use: two networks of the whole space that it foresaw as best at a predicted 1.5"
        " and 2 times the speed, both without any branch of the first resolution, were trained as the others for one"
        " and for two epochs, and then given up, with 15.1 and 22.7% of errors on validation images, where members"
        " as fast had 15.0 and 16.5%."
    )
    yield (
        "Since then candidates can be judged with their layers fitted instead of trained (`evaluate.refit`), which"
        " is three times as fast ([performance](performance.md#fitting-instead-of-training));"
        " [the experiment above](#cifar10-resnet20) is that search. At equal speeds in the search its members keep more"
        " multiply-adds and parameters (3.22 and 1.79 times fewer at 2.83 times the speed, beside 3.62 and 2.35 at"
        " 2.81), and five epochs without features brought such members about as far as nine did here; the experiment"
        " above has six, with features."
    )


def left_out(columns: Sequence[np.ndarray], truth: np.ndarray) -> float:
    """Root mean squared error of a linear model at each point, fitted to the others."""
    X = np.column_stack([np.ones(len(truth)), *columns])
    hat = X @ np.linalg.pinv(X)
    return float(np.sqrt(np.mean(((truth - hat @ truth) / (1 - np.diag(hat))) ** 2)))


def published() -> Iterable[str]:
    """What others report, and why it is another matter."""
    yield "## Beside published figures"
    yield (
        "Reported by the methods' authors, on lossless CIFAR-10, after long training on GPUs, and by MACs."
        " Here the images are a JPEG copy, on which the same networks start some points lower; networks are trained"
        " for a few epochs on a CPU; they are chosen by latency as measured on one device, on validation images (on"
        " which the given weights were once trained, so that errors there are lower than on the test images); and"
        " the test images are looked at once. So changes in accuracy can be held against one another only roughly, and"
        " accuracies not at all."
    )
    yield markdown(pd.read_csv(DATA / "published.csv", dtype=str).fillna("–"))


def kept() -> dict[str, Results]:
    """The runs whose tables are here, by name."""
    return {folder.name: Results(folder) for folder in sorted(DATA.iterdir()) if (folder / "pareto").is_dir()}


def experiments(runs: dict[str, Results]) -> list[str]:
    """Names of the runs of hamp's own search."""
    return [name for name in runs if not any(name.endswith(f"-{suffix}") for suffix in COMPARED)]


def configuration(name: str) -> str:
    """What `make run` is given for a run: an experiment's file, and the file that is laid over it, if one is."""
    if name == "digits":
        return "config/config.yaml"
    if (DOCS.parent / f"config/experiments/{name}.yaml").is_file():
        return f"config/experiments/{name}.yaml"
    base, _, changes = name.rpartition("-")
    return f'"config/experiments/{base}.yaml config/competitors/{changes}.yaml"'


def methods_of(name: str, runs: dict[str, Results]) -> dict[str, Results]:
    """The run of an experiment, and those of the methods that it is compared with, by method."""
    others = {title: runs[f"{name}-{suffix}"] for suffix, title in COMPARED.items() if f"{name}-{suffix}" in runs}
    return {"hamp": runs[name], **others}


def page(runs: dict[str, Results]) -> str:
    """The whole of docs/results.md."""
    parts: list[str] = [
        "# Results",
        "Written by `make results` from the tables in `docs/data`; they are copied there from finished runs by"
        " `python docs/results.py keep results/NAME`. A latency is the median over rounds in which the networks and the"
        " unpruned one are timed by turns; *times faster* is the ratio to the unpruned network in the same session. *In"
        " PyTorch*: the same ratio for the same networks, run layer by layer by PyTorch, for which nobody chose them;"
        " *predicted*: as the profile predicts it. A front goes by the validation error, so that by test error one row"
        " may beat another. The CIFAR-10 experiments need a JPEG copy of the images, and weights, that are not in this"
        " repository: set `data.root` and `network.weights` to yours.",
    ]
    for name in experiments(runs):
        parts += [f"## {name}", f"`make run CONFIG={configuration(name)}`", *experiment(runs[name])]
        parts += [f"![The front, and all that the search evaluated](images/{name}-front.png)"]
        methods = methods_of(name, runs)
        parts += hypervolumes(methods)
        if len(lines := lines_of(methods)) > 1:
            parts += comparison(name, lines)
    parts += foreseen()
    parts += published()
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Keep runs, if any are named, and write the documents."""
    if arguments and arguments[0] == "keep":
        for folder in arguments[1:]:
            keep(Path(folder))
    if arguments and arguments[0] == "time":
        found = [Results(Path(folder).resolve()) for folder in arguments[1:]]
        together(found).to_csv(DATA / found[0].folder.name / TOGETHER, index=False)
    runs = kept()
    (DOCS / "images").mkdir(exist_ok=True)
    (DOCS / "results.md").write_text(page(runs), encoding="utf-8")
    with styled():
        for name in experiments(runs):
            save(MAKERS["front.svg"](runs[name]), f"{name}-front")  # type: ignore[arg-type]
            if len(lines := lines_of(methods_of(name, runs))) > 1:
                save(comparison_figure(lines), f"{name}-methods")


def save(made: Figure, name: str) -> None:
    """Write a figure to docs/images."""
    made.savefig(DOCS / "images" / f"{name}.png", dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main(sys.argv[1:])
