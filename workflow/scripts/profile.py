"""Learn the device: its baseline, noise, and latency table."""

from hamp.command import StageParser, run
from hamp.configuration.blocks import Device, Network, Profile
from hamp.hardware.profile import build
from hamp.seeding import seed_of
from hamp.stages.network import facts, load_network
from hamp.stages.read import read_space
from hamp.stages.scores import read_scores
from hamp.tables import write


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.files("space", "scores", "weights", "images")
    parser.outputs("profile")
    parser.block("network", Network)
    parser.block("device", Device)
    parser.block("settings", Profile)
    parser.value("seed", int)
    arguments = parser.parse_args()
    table = build(
        load_network(arguments.network, arguments.weights, arguments.images),
        read_space(arguments.space),
        facts(arguments.images)[1],
        arguments.device,
        arguments.settings,
        read_scores(arguments.scores),
        seed_of(arguments.seed, "profile"),
    )
    write(table, arguments.profile)


if __name__ == "__main__":
    run(main)
