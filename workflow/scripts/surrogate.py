"""Fit models of the costly objectives to all that was evaluated."""

from hamp.command import StageParser, run
from hamp.stages.read import read_profiles, read_space
from hamp.stages.surrogate import surrogate
from hamp.tables import EVALUATED, SURROGATE, read, write


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.files("space", "archive")
    parser.outputs("output")
    parser.files("profile", many=True)
    parser.value("seed", int)
    parser.value("generation", int)
    parser.value("objectives", str, nargs="+")
    parser.value("latency", str)
    parser.value("surrogates", str, nargs="+")
    parser.files("previous", optional=True)
    arguments = parser.parse_args()
    table = surrogate(
        read_space(arguments.space),
        read_profiles(arguments.profile),
        read(arguments.archive, EVALUATED),
        seed=arguments.seed,
        generation=arguments.generation,
        objectives=arguments.objectives,
        latency=arguments.latency,
        surrogates=arguments.surrogates,
        previous=None if arguments.previous is None else read(arguments.previous, SURROGATE),
    )
    write(table, arguments.output)


if __name__ == "__main__":
    run(main)
