"""New candidates by variation of the population."""

from hamp.command import StageParser, run
from hamp.configuration.blocks import Portfolio
from hamp.stages.read import read_profiles, read_space
from hamp.stages.vary import vary
from hamp.tables import EVALUATED, read, write


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.files("space", "population", "archive")
    parser.outputs("output")
    parser.files("profile", many=True)
    parser.value("method", str)
    parser.value("seed", int)
    parser.value("generation", int)
    parser.value("offspring", int)
    parser.value("objectives", str, nargs="+")
    parser.value("patience", int, optional=True)
    parser.value("tolerance", float)
    parser.value("netadapt-step", float, 0.04)
    parser.block("portfolio", Portfolio, optional=True)
    arguments = parser.parse_args()
    table = vary(
        read_space(arguments.space),
        read_profiles(arguments.profile),
        read(arguments.population, EVALUATED),
        read(arguments.archive, EVALUATED),
        method=arguments.method,
        seed=arguments.seed,
        generation=arguments.generation,
        offspring=arguments.offspring,
        objectives=arguments.objectives,
        patience=arguments.patience,
        tolerance=arguments.tolerance,
        portfolio=arguments.portfolio or Portfolio(),
        netadapt_step=arguments.netadapt_step,
    )
    write(table, arguments.output)


if __name__ == "__main__":
    run(main)
