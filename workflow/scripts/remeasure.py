"""Measure the fine-tuned networks on the device, by turns with the unpruned one."""

from hamp.command import StageParser, run
from hamp.configuration.blocks import Device, Measure, Network
from hamp.stages.finetuned import load_finetuned
from hamp.stages.measure import measured, predicted
from hamp.stages.network import facts, load_network
from hamp.stages.read import read_space
from hamp.stages.scores import read_scores
from hamp.tables import MEMBERS, PROFILE, read, write


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.files("members", "space", "scores", "profile", "weights", "images", "output")
    parser.files("finetuned-weights", many=True)
    parser.block("network", Network)
    parser.block("device", Device)
    parser.block("measure", Measure)
    parser.value("seed", int)
    arguments = parser.parse_args()
    members, space = read(arguments.members, MEMBERS), read_space(arguments.space)
    profile = read(arguments.profile, PROFILE)
    if arguments.device.runtime == "roofline":
        write(predicted(members, space, profile), arguments.output)
        return
    model = load_network(arguments.network, arguments.weights, arguments.images)
    finetuned = load_finetuned(model, space, read_scores(arguments.scores), members, arguments.finetuned_weights)
    table = measured(
        members,
        dict(finetuned),
        model,
        space,
        profile,
        facts(arguments.images)[1],
        arguments.device,
        arguments.measure,
        seed=arguments.seed,
    )
    write(table, arguments.output)


if __name__ == "__main__":
    run(main)
