"""The validation error with one group cut at a time, without training."""

from hamp.command import StageParser, run
from hamp.configuration.blocks import Augment, Evaluate, Network, Sensitivity
from hamp.data.images import open_split
from hamp.stages.evaluate import evaluate
from hamp.stages.network import load_network
from hamp.stages.read import read_space
from hamp.stages.scores import read_scores
from hamp.stages.sensitivity import sensitivity
from hamp.tables import write
from hamp.training.hardware import use
from hamp.training.tasks import task


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.files("space", "scores", "weights", "splits", "images")
    parser.outputs("output")
    parser.block("network", Network)
    parser.block("augment", Augment)
    parser.block("sensitivity", Sensitivity)
    parser.value("recalibration-images", int)
    parser.add_argument("--refit", action="store_true")
    parser.value("batch-size", int)
    parser.value("precision", str)
    parser.value("task", str)
    parser.value("hardware", str)
    parser.value("threads", int)
    parser.value("seed", int)
    arguments = parser.parse_args()
    use(arguments.threads)
    space = read_space(arguments.space)
    model, scores = load_network(arguments.network, arguments.weights, arguments.images), read_scores(arguments.scores)
    train, validation = (open_split(arguments.images, arguments.splits, part) for part in ("train", "validation"))
    settings = Evaluate(
        images=arguments.sensitivity.images,
        recalibration_images=arguments.recalibration_images,
        refit=arguments.refit,
        finetune_steps=0,
        batch_size=arguments.batch_size,
        precision=arguments.precision,
    )
    table = sensitivity(
        space,
        arguments.sensitivity.fractions,
        lambda candidates: evaluate(
            candidates,
            model,
            space,
            scores,
            train,
            validation,
            task(arguments.task),
            settings,
            arguments.augment,
            seed=arguments.seed,
            hardware=arguments.hardware,
        ),
    )
    write(table, arguments.output)


if __name__ == "__main__":
    run(main)
