"""The validation error of one shard of a generation's candidates."""

from hamp.command import StageParser, run
from hamp.configuration.blocks import Augment, Evaluate, Network
from hamp.tables import CANDIDATES, ERRORS, empty, read, write


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.files("offspring", "space", "scores", "weights", "splits", "images")
    parser.outputs("output")
    parser.block("network", Network)
    parser.block("augment", Augment)
    parser.block("evaluate", Evaluate)
    parser.value("task", str)
    parser.value("shard", int)
    parser.value("shards", int)
    parser.value("hardware", str)
    parser.value("threads", int)
    parser.value("seed", int)
    arguments = parser.parse_args()
    offspring = read(arguments.offspring, CANDIDATES)
    if arguments.shard >= len(offspring):  # more jobs than candidates, which are none once a search has converged
        write(empty(ERRORS), arguments.output)
        return

    # Only a shard that has something to do pays for these.
    from hamp.data.images import open_split
    from hamp.stages.evaluate import evaluate
    from hamp.stages.network import load_network
    from hamp.stages.read import read_space
    from hamp.stages.scores import read_scores
    from hamp.stages.shards import shard_of
    from hamp.training.hardware import use
    from hamp.training.tasks import task

    use(arguments.threads)
    space = read_space(arguments.space)
    errors = evaluate(
        shard_of(offspring, space, arguments.shard, arguments.shards),
        load_network(arguments.network, arguments.weights, arguments.images),
        space,
        read_scores(arguments.scores),
        open_split(arguments.images, arguments.splits, "train"),
        open_split(arguments.images, arguments.splits, "validation"),
        task(arguments.task),
        arguments.evaluate,
        arguments.augment,
        seed=arguments.seed,
        hardware=arguments.hardware,
    )
    write(errors, arguments.output)


if __name__ == "__main__":
    run(main)
