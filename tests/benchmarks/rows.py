"""Rows of the benchmark table."""

from typing import Any

Row = dict[str, Any]


def row(benchmark: str, value: float, peer: float, unit: str, smaller: bool = False) -> Row:
    """One row; `ratio` is how many times better the value is than the peer's, or the share of it that it has."""
    better, worse = (peer, value) if smaller else (value, peer)
    ratio = better / worse if worse else float("inf")
    return {"benchmark": benchmark, "value": value, "peer": peer, "ratio": ratio, "unit": unit}
