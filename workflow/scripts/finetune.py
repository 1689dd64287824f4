"""Fine-tune one shard of the front members."""

import shutil

from hamp.command import StageParser, run
from hamp.configuration.blocks import Augment, Finetune, Network
from hamp.data.images import open_split
from hamp.digest import file_digest
from hamp.models.weights import save_tensors
from hamp.stages.finetune import finetune
from hamp.stages.network import load_network
from hamp.stages.read import read_space
from hamp.stages.scores import read_scores
from hamp.stages.shards import networks_of
from hamp.tables import MEMBERS, read, write
from hamp.training.hardware import use
from hamp.training.tasks import task


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.files("members", "space", "scores", "weights", "splits", "images")
    parser.outputs("finetuned", "finetuned-weights")
    parser.block("network", Network)
    parser.block("finetune", Finetune)
    parser.block("augment", Augment)
    parser.value("task", str)
    parser.value("shard", int)
    parser.value("shards", int)
    parser.value("hardware", str)
    parser.value("threads", int)
    parser.value("seed", int)
    arguments = parser.parse_args()
    use(arguments.threads)
    space = read_space(arguments.space)
    checkpoints = arguments.finetuned.with_suffix(".checkpoints")
    weights, errors = finetune(
        networks_of(read(arguments.members, MEMBERS), space, arguments.shard, arguments.shards),
        load_network(arguments.network, arguments.weights, arguments.images),
        space,
        read_scores(arguments.scores),
        open_split(arguments.images, arguments.splits, "train"),
        open_split(arguments.images, arguments.splits, "validation"),
        task(arguments.task),
        arguments.finetune,
        arguments.augment,
        seed=arguments.seed,
        hardware=arguments.hardware,
        checkpoints=checkpoints,
    )
    save_tensors(weights, arguments.finetuned_weights)
    write(errors, arguments.finetuned, {"weights": file_digest(arguments.finetuned_weights)})
    shutil.rmtree(checkpoints, ignore_errors=True)


if __name__ == "__main__":
    run(main)
