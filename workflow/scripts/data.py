"""Decode the images once, and split them into training, validation and test images."""

from hamp.command import StageParser, run
from hamp.configuration.blocks import Data
from hamp.data.prepare import prepare


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.outputs("images", "splits")
    parser.block("data", Data)
    parser.value("seed", int)
    parser.add_argument("--download", action="store_true")
    arguments = parser.parse_args()
    data = arguments.data.model_copy(update={"download": arguments.download})
    prepare(data, arguments.seed, arguments.images, arguments.splits)


if __name__ == "__main__":
    run(main)
