"""The first candidates of a search."""

from hamp.command import StageParser, run
from hamp.stages.initial import initial
from hamp.stages.read import read_space
from hamp.tables import SENSITIVITY, read, write


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.files("space")
    parser.files("sensitivity", optional=True)
    parser.outputs("output")
    parser.value("population", int)
    parser.value("initial", str, nargs="+")
    parser.value("seed", int)
    arguments = parser.parse_args()
    found = None if arguments.sensitivity is None else read(arguments.sensitivity, SENSITIVITY)
    space = read_space(arguments.space)
    write(initial(space, arguments.population, arguments.seed, arguments.initial, found), arguments.output)


if __name__ == "__main__":
    run(main)
