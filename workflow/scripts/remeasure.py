"""Measure the fine-tuned networks on the device, by turns with the unpruned one."""

from hamp.candidates import REFERENCE
from hamp.command import StageParser, run
from hamp.configuration.blocks import Device, Measure, Network
from hamp.hardware.devices import analytic
from hamp.stages.finetuned import load_finetuned
from hamp.stages.measure import measured, predicted
from hamp.stages.network import facts, load_network
from hamp.stages.read import read_profiles, read_space
from hamp.stages.scores import read_scores
from hamp.tables import MEMBERS, read, write


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.files("members", "space", "scores", "weights", "images")
    parser.outputs("output")
    parser.files("profile", "finetuned-weights", many=True)
    parser.block("network", Network)
    parser.block("device", Device)
    parser.blocks("devices", Device)
    parser.block("measure", Measure)
    parser.value("seed", int)
    parser.value("energy", str, nargs="+", default=[])
    arguments = parser.parse_args()
    members, space = read(arguments.members, MEMBERS), read_space(arguments.space)
    profiles, devices = read_profiles(arguments.profile), {"": arguments.device, **arguments.devices}
    if all(map(analytic, devices.values())):
        write(predicted(members, space, profiles), arguments.output)
        return
    model = load_network(arguments.network, arguments.weights, arguments.images)
    finetuned = load_finetuned(model, space, read_scores(arguments.scores), members, arguments.finetuned_weights)
    table = measured(
        members,
        {name: network for name, network in finetuned if name != REFERENCE},  # which is as fast as the unpruned
        model,
        space,
        profiles,
        facts(arguments.images)[1],
        devices,
        arguments.measure,
        seed=arguments.seed,
        energy=arguments.energy,
    )
    write(table, arguments.output)


if __name__ == "__main__":
    run(main)
