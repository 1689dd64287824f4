"""Hypervolume after every generation of every search."""

from hamp.command import StageParser, run, search_of
from hamp.stages.pareto import hypervolumes
from hamp.tables import EVALUATED, read, write


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.outputs("output")
    parser.files("archives", many=True)
    parser.value("objectives", str, nargs="+")
    arguments = parser.parse_args()
    archives = {search_of(path): read(path, EVALUATED) for path in arguments.archives}
    write(hypervolumes(archives, arguments.objectives), arguments.output)


if __name__ == "__main__":
    run(main)
