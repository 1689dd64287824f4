"""The front: what fine-tuning, testing, measuring and exporting gave, joined."""

from hamp.command import StageParser, run
from hamp.stages.pareto import pareto
from hamp.tables import EXPORTED, FINETUNED, MEASURED, MEMBERS, TESTED, concatenate, read, write


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.files("members", "tested", "measured", "exported")
    parser.outputs("output")
    parser.files("finetuned", many=True)
    parser.value("objectives", str, nargs="+")
    arguments = parser.parse_args()
    table = pareto(
        read(arguments.members, MEMBERS),
        concatenate([read(path, FINETUNED) for path in arguments.finetuned]),
        read(arguments.tested, TESTED),
        read(arguments.measured, MEASURED),
        read(arguments.exported, EXPORTED),
        arguments.objectives,
    )
    write(table, arguments.output)


if __name__ == "__main__":
    run(main)
