"""Record the settings of the run beside its results, for the report and for whoever takes a network home."""

from hamp.command import StageParser, run
from hamp.configuration.blocks import Config
from hamp.results import write_settings


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.outputs("output")
    parser.block("settings", Config)
    arguments = parser.parse_args()
    write_settings(arguments.settings, arguments.output)


if __name__ == "__main__":
    run(main)
