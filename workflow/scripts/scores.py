"""Score the channels of every group."""

from hamp.command import StageParser, run
from hamp.configuration.blocks import Network
from hamp.data.images import open_split
from hamp.pruning.importance import scores_to_table
from hamp.stages.network import load_network
from hamp.stages.read import read_space
from hamp.stages.scores import scores
from hamp.tables import write
from hamp.training.tasks import task


def main() -> None:
    import torch

    parser = StageParser(description=__doc__)
    parser.files("space", "weights", "splits", "images")
    parser.outputs("scores")
    parser.block("network", Network)
    parser.value("task", str)
    parser.value("importance", str)
    parser.value("hardware", str)
    parser.value("threads", int)
    parser.value("seed", int)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found = scores(
        load_network(arguments.network, arguments.weights, arguments.images),
        read_space(arguments.space),
        arguments.importance,
        open_split(arguments.images, arguments.splits, "train"),
        task(arguments.task),
        seed=arguments.seed,
        hardware=arguments.hardware,
    )
    write(scores_to_table(found), arguments.scores)


if __name__ == "__main__":
    run(main)
