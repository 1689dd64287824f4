"""What racing could spare at most: judging a candidate on no further images once it is certain not to join the front.

    python -m tests.benchmarks.racing docs/data/cifar10-resnet20

A candidate cannot join once it has made, on the images seen so far, as many mistakes as one of an earlier generation on
all of them that is no worse in every other objective. From the archives of a finished run: which share of the images
that candidates were judged on would then not have been looked at.
"""

import sys
from pathlib import Path

import numpy as np

from hamp.results import Results
from hamp.tables import columns


def spared(errors: np.ndarray, others: np.ndarray, generations: np.ndarray) -> float:
    """Share of the images, of candidates after generation 0.

    Args:
        errors: (n,)
        others: the other objectives (n, objectives - 1).
        generations: (n,)
    """
    seen = []
    for error, values, generation in zip(errors, others, generations, strict=True):
        if generation:
            beats = (generations < generation) & (others <= values).all(axis=1)
            bound = errors[beats].min(initial=np.inf)
            seen.append(min(1.0, bound / error) if error else 1.0)
    return 1 - float(np.mean(seen))


def main() -> None:
    """Print a line a search."""
    for folder in sys.argv[1:]:
        results = Results(Path(folder))
        rest = [name for name in results.settings.objectives if name != "error"]
        for (method, seed), archive in results.archives.items():
            share = spared(archive["error"].to_numpy(), columns(archive, rest), archive["generation"].to_numpy())
            print(f"{folder}, {method}, seed {seed}: {share:.1%} of the images")


if __name__ == "__main__":
    main()
