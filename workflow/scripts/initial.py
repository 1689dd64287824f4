"""The first candidates of a search."""

from hamp.command import StageParser, run
from hamp.stages.initial import initial
from hamp.stages.read import read_space
from hamp.tables import write


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.files("space", "output")
    parser.value("population", int)
    parser.value("seed", int)
    arguments = parser.parse_args()
    write(initial(read_space(arguments.space), arguments.population, arguments.seed), arguments.output)


if __name__ == "__main__":
    run(main)
