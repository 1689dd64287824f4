"""The report's figures, tables and the page to choose a network with."""

from pathlib import Path

from hamp.command import StageParser, run
from hamp.report.build import build
from hamp.results import Results


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.value("results", Path, metavar="FOLDER")
    arguments = parser.parse_args()
    build(Results(arguments.results))


if __name__ == "__main__":
    run(main)
