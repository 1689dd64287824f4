"""Join what was found of a generation's candidates, and choose the survivors."""

from hamp.command import StageParser, run
from hamp.configuration.blocks import Portfolio
from hamp.progress import line
from hamp.stages.select import evaluated, select
from hamp.tables import CANDIDATES, ERRORS, EVALUATED, MEASURED, empty, read, write


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.files("offspring", "measured")
    parser.outputs("evaluated", "archive", "population")
    parser.files("errors", many=True)
    parser.files("population-before", "archive-before", optional=True)
    parser.value("size", int)
    parser.value("objectives", str, nargs="+")
    parser.value("method", str)
    parser.value("generation", int)
    parser.block("portfolio", Portfolio, optional=True)
    arguments = parser.parse_args()
    new = evaluated(
        read(arguments.offspring, CANDIDATES),
        [read(path, ERRORS) for path in arguments.errors],
        read(arguments.measured, MEASURED),
        arguments.generation,
    )
    first = arguments.archive_before is None
    archive, population = select(
        empty(EVALUATED) if first else read(arguments.population_before, EVALUATED),
        empty(EVALUATED) if first else read(arguments.archive_before, EVALUATED),
        new,
        size=arguments.size,
        objectives=arguments.objectives,
        method=arguments.method,
        portfolio=arguments.portfolio or Portfolio(),
    )
    write(new, arguments.evaluated)
    write(archive, arguments.archive)
    write(population, arguments.population)
    print(f"{arguments.method}, generation {arguments.generation}: {line(archive, arguments.objectives)}")


if __name__ == "__main__":
    run(main)
