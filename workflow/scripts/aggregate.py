"""The front over all searches: the candidates to fine-tune."""

from hamp.command import StageParser, run, search_of
from hamp.configuration.blocks import Portfolio
from hamp.stages.pareto import aggregate
from hamp.tables import EVALUATED, read, write


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.outputs("output")
    parser.files("archives", many=True)
    parser.value("objectives", str, nargs="+")
    parser.value("members", int)
    parser.block("portfolio", Portfolio)
    arguments = parser.parse_args()
    archives = {search_of(path): read(path, EVALUATED) for path in arguments.archives}
    write(aggregate(archives, arguments.objectives, arguments.members, arguments.portfolio), arguments.output)


if __name__ == "__main__":
    run(main)
