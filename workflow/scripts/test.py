"""Judge the unpruned network and the fine-tuned ones on the test images, once."""

from hamp.command import StageParser, run
from hamp.configuration.blocks import Network
from hamp.data.images import open_split
from hamp.stages.finetuned import load_finetuned, unpruned_first
from hamp.stages.network import load_network
from hamp.stages.read import read_space
from hamp.stages.scores import read_scores
from hamp.stages.test import test
from hamp.tables import MEMBERS, read, write
from hamp.training.hardware import use
from hamp.training.tasks import task


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.files("members", "space", "scores", "weights", "splits", "images")
    parser.outputs("output")
    parser.files("finetuned-weights", many=True)
    parser.block("network", Network)
    parser.value("task", str)
    parser.value("hardware", str)
    parser.value("threads", int)
    arguments = parser.parse_args()
    use(arguments.threads)
    model = load_network(arguments.network, arguments.weights, arguments.images)
    finetuned = load_finetuned(
        model,
        read_space(arguments.space),
        read_scores(arguments.scores),
        read(arguments.members, MEMBERS),
        arguments.finetuned_weights,
    )
    images = open_split(arguments.images, arguments.splits, "test")
    table = test(unpruned_first(model, finetuned), images, task(arguments.task), hardware=arguments.hardware)
    write(table, arguments.output)


if __name__ == "__main__":
    run(main)
