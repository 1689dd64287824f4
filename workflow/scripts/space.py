"""Find the groups of channels that must be removed together."""

from hamp.command import StageParser, run
from hamp.configuration.blocks import Network, Pruning
from hamp.stages.network import facts, load_network
from hamp.stages.space import space
from hamp.tables import write


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.files("weights", "images")
    parser.outputs("space")
    parser.block("network", Network)
    parser.block("pruning", Pruning)
    arguments = parser.parse_args()
    model = load_network(arguments.network, arguments.weights, arguments.images)
    write(space(model, facts(arguments.images)[1], arguments.pruning).to_table(), arguments.space)


if __name__ == "__main__":
    run(main)
