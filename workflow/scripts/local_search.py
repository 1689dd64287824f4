"""Candidates that the surrogate promises much of, beside those of the variation."""

from hamp.command import StageParser, run
from hamp.configuration.blocks import Portfolio
from hamp.stages.read import read_profiles, read_space
from hamp.stages.surrogate import local_search
from hamp.tables import CANDIDATES, EVALUATED, SURROGATE, read, write


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.files("space", "population", "archive", "variation", "surrogate")
    parser.outputs("output")
    parser.files("profile", many=True)
    parser.value("method", str)
    parser.value("seed", int)
    parser.value("generation", int)
    parser.value("offspring", int)
    parser.value("objectives", str, nargs="+")
    parser.value("latency", str)
    parser.block("portfolio", Portfolio, optional=True)
    arguments = parser.parse_args()
    table = local_search(
        read_space(arguments.space),
        read_profiles(arguments.profile),
        read(arguments.population, EVALUATED),
        read(arguments.archive, EVALUATED),
        read(arguments.variation, CANDIDATES),
        read(arguments.surrogate, SURROGATE),
        method=arguments.method,
        seed=arguments.seed,
        generation=arguments.generation,
        offspring=arguments.offspring,
        objectives=arguments.objectives,
        latency=arguments.latency,
        portfolio=arguments.portfolio or Portfolio(),
    )
    write(table, arguments.output)


if __name__ == "__main__":
    run(main)
