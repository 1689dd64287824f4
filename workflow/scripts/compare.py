"""Every search against every other: indicators by generation, tests of the methods, and the surrogates' foresight."""

from hamp.command import StageParser, generation_of, run, search_of
from hamp.stages.compare import compare, foresight
from hamp.stages.read import read_profiles, read_space
from hamp.tables import EVALUATED, SURROGATE, read, write


def main() -> None:
    parser = StageParser(description=__doc__)
    parser.files("space")
    parser.outputs("curves", "pairs", "ranks", "foresight")
    parser.files("profile", "archives", many=True)
    parser.files("models", many=True, optional=True)
    parser.value("objectives", str, nargs="+")
    parser.value("latency", str)
    arguments = parser.parse_args()
    archives = {search_of(path): read(path, EVALUATED) for path in arguments.archives}
    compared = compare(archives, arguments.objectives)
    write(compared.curves, arguments.curves)
    write(compared.pairs, arguments.pairs)
    write(compared.ranks, arguments.ranks)
    models = {(*search_of(path), generation_of(path)): read(path, SURROGATE) for path in arguments.models or []}
    space, profiles = read_space(arguments.space), read_profiles(arguments.profile)
    write(
        foresight(space, profiles, archives, models, arguments.objectives, arguments.latency),
        arguments.foresight,
    )


if __name__ == "__main__":
    run(main)
