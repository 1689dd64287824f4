"""Work that is done while other work goes on."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items in the same order, each made in another thread while the one before it is used.

    For batches that are read and augmented while a GPU computes. What making an item raises is raised here.
    """
    end = object()
    iterator = iter(items)
    with ThreadPoolExecutor(1, "ahead") as pool:
        following = pool.submit(next, iterator, end)
        while (item := following.result()) is not end:
            following = pool.submit(next, iterator, end)
            yield item  # type: ignore[misc]
