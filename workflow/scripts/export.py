"""Write the fine-tuned networks, and the unpruned one, as ONNX and safetensors."""

from hamp.candidates import UNPRUNED
from hamp.command import StageParser, run
from hamp.configuration.blocks import Network
from hamp.data.images import open_split
from hamp.stages.export import export
from hamp.stages.finetuned import load_finetuned, unpruned_first
from hamp.stages.network import load_network
from hamp.stages.read import read_space
from hamp.stages.scores import read_scores
from hamp.stages.shards import networks_of
from hamp.tables import MEMBERS, read, write


def main() -> None:
    import torch

    parser = StageParser(description=__doc__)
    parser.files("members", "space", "scores", "weights", "splits", "images", "folder")
    parser.outputs("output")
    parser.files("finetuned-weights", many=True)
    parser.block("network", Network)
    parser.value("source", str)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    members, space = read(arguments.members, MEMBERS), read_space(arguments.space)
    model = load_network(arguments.network, arguments.weights, arguments.images)
    finetuned = load_finetuned(model, space, read_scores(arguments.scores), members, arguments.finetuned_weights)
    widths = {UNPRUNED: space.channels, **networks_of(members, space)}
    images = open_split(arguments.images, arguments.splits, "validation")
    networks = unpruned_first(model, finetuned)
    write(export(networks, widths, images, arguments.folder, arguments.source), arguments.output)


if __name__ == "__main__":
    run(main)
