"""Train the unpruned network, or take the weights that are given."""

from hamp.command import StageParser, run
from hamp.configuration.blocks import Augment, Network, Pretrain
from hamp.data.images import open_split
from hamp.digest import file_digest
from hamp.models.weights import save_weights
from hamp.stages.network import facts
from hamp.stages.pretrain import given, pretrain
from hamp.tables import write
from hamp.training.hardware import use
from hamp.training.tasks import task


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.files("splits", "images")
    parser.outputs("training", "weights")
    parser.files("given", optional=True)
    parser.block("network", Network)
    parser.block("pretrain", Pretrain, optional=True)
    parser.block("augment", Augment, optional=True)
    parser.value("task", str, "classification")
    parser.value("hardware", str, "cpu")
    parser.value("threads", int, 1)
    parser.value("seed", int, 0)
    arguments = parser.parse_args()
    use(arguments.threads)
    checkpoint = arguments.weights.with_name("pretrain.checkpoint")
    if arguments.given is not None:
        classes, (channels, _, _) = facts(arguments.images)
        model, history = given(arguments.network, arguments.given, classes, channels)
    else:
        model, history = pretrain(
            arguments.network,
            open_split(arguments.images, arguments.splits, "train"),
            open_split(arguments.images, arguments.splits, "validation"),
            task(arguments.task),
            arguments.pretrain,
            arguments.augment,
            seed=arguments.seed,
            hardware=arguments.hardware,
            checkpoint=checkpoint,
        )
    save_weights(model, arguments.weights)
    write(history, arguments.training, {"weights": file_digest(arguments.weights)})
    checkpoint.unlink(missing_ok=True)


if __name__ == "__main__":
    run(main)
