"""Latency and memory of a generation's candidates: measured as block `measure` says, or predicted without it."""

from hamp.command import StageParser, run
from hamp.configuration.blocks import Device, Measure, Network
from hamp.stages.measure import as_profiled, measured, predicted, pruned
from hamp.stages.read import read_profiles, read_space
from hamp.tables import CANDIDATES, MEASURED, empty, read, write


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.files("offspring", "space", "scores", "weights", "images")
    parser.outputs("output")
    parser.files("profile", many=True)
    parser.block("network", Network, optional=True)
    parser.block("device", Device, optional=True)
    parser.blocks("devices", Device)
    parser.block("measure", Measure, optional=True)
    parser.value("seed", int, default=0)
    parser.value("energy", str, nargs="+", default=[])
    arguments = parser.parse_args()
    candidates = read(arguments.offspring, CANDIDATES)
    space, profiles = read_space(arguments.space), read_profiles(arguments.profile)
    if not len(candidates):
        write(empty(MEASURED), arguments.output)
        return
    if arguments.measure is None:
        write(predicted(candidates, space, profiles), arguments.output)
        return

    # Only what is measured needs these.
    from hamp.stages.network import facts, load_network
    from hamp.stages.scores import read_scores

    model = load_network(arguments.network, arguments.weights, arguments.images)
    table = measured(
        candidates,
        pruned(candidates, model, space, read_scores(arguments.scores)),
        model,
        space,
        profiles,
        facts(arguments.images)[1],
        {"": arguments.device, **arguments.devices},
        arguments.measure,
        seed=arguments.seed,
        energy=arguments.energy,
    )
    write(as_profiled(table, profiles), arguments.output)


if __name__ == "__main__":
    run(main)
