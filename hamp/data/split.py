"""Which images train, which judge candidates in the search, and which are read once at the end."""

import numpy as np
import pyarrow as pa

from hamp import seeding, tables
from hamp.configuration import blocks
from hamp.data.source import Source
from hamp.errors import UserError


def split(source: Source, settings: blocks.Data, seed: int) -> pa.Table:
    """One row (`tables.SPLITS`) an image that is taken, in the order of the data set.

    Without a test set of its own, the source gives `test_fraction` of all its images; of what remains,
    `validation_fraction` judges candidates. Both are drawn at random, stratified by class.

    Raises:
        UserError: a split would have no image.
    """
    rows = np.arange(len(source.targets))
    labels = source.targets if source.classes else np.zeros(len(rows), np.int64)
    train, test = rows[: len(rows) - source.n_test], rows[len(rows) - source.n_test :]
    if settings.limit is not None:
        rng = seeding.generator(seed, "data/limit")
        train, test = (
            _drawn(part, labels, min(settings.limit, len(part)), rng)[0] if len(part) else part
            for part in (train, test)
        )
    if not len(test):
        n_test = round(settings.test_fraction * len(train))
        test, train = _drawn(train, labels, n_test, seeding.generator(seed, "data/test"))
    n_validation = round(settings.validation_fraction * len(train))
    validation, train = _drawn(train, labels, n_validation, seeding.generator(seed, "data/validation"))
    parts = {"train": train, "validation": validation, "test": test}
    for name, part in parts.items():
        if not len(part):
            raise UserError(
                f"data: no image is left for the {name} split of {len(rows)} images "
                f"(limit {settings.limit}, validation_fraction {settings.validation_fraction}, "
                f"test_fraction {settings.test_fraction}); change one of them"
            )
    index = np.concatenate(list(parts.values()))
    names = np.repeat(list(parts), [len(part) for part in parts.values()])
    order = np.argsort(index)
    columns = {"index": index[order], "label": labels[index[order]], "split": names[order]}
    return tables.build(tables.SPLITS, columns)


def _drawn(rows: np.ndarray, labels: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`count` of the rows, each class within one of its share, and the others; both in increasing order.

    Systematic sampling: the rows are shuffled within their class, and every (n / count)-th is taken.
    """
    shuffled = rows[rng.permutation(len(rows))]
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    steps = (np.arange(len(rows) + 1) * count + len(rows) // 2) // max(len(rows), 1)
    taken = np.diff(steps) > 0
    return np.sort(by_class[taken]), np.sort(by_class[~taken])
