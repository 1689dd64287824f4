"""Put the profile's predictions to the test, on whole networks that it has not seen."""

from hamp.command import StageParser, run
from hamp.configuration.blocks import Device, Measure, Network
from hamp.hardware.profile import validate
from hamp.seeding import seed_of
from hamp.stages.network import facts, load_network
from hamp.stages.read import read_space
from hamp.stages.scores import read_scores
from hamp.tables import PROFILE, read, write


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.files("space", "scores", "profile", "weights", "images")
    parser.outputs("output")
    parser.block("network", Network)
    parser.block("device", Device)
    parser.block("measure", Measure)
    parser.value("networks", int)
    parser.value("seed", int)
    arguments = parser.parse_args()
    table = validate(
        load_network(arguments.network, arguments.weights, arguments.images),
        read_space(arguments.space),
        facts(arguments.images)[1],
        arguments.device,
        arguments.measure,
        read_scores(arguments.scores),
        seed_of(arguments.seed, "profile"),
        read(arguments.profile, PROFILE),
        arguments.networks,
    )
    write(table, arguments.output)


if __name__ == "__main__":
    run(main)
