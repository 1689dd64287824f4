"""A small run that went to its end, and copies of it to be changed at will."""

import pytest
from small_runs import ROOT, SMALL, Run

__all__ = ["ROOT"]


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Run:
    """A run that went to its end."""
    run = Run(tmp_path_factory.mktemp("finished"), SMALL)
    run.snakemake()
    return run


@pytest.fixture
def run(finished, tmp_path) -> Run:
    """A copy of the finished run, to be changed at will."""
    return finished.copy(tmp_path / "run")
