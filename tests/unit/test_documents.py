"""Documents that scripts write are what the tables in docs/data give."""

import importlib.util

from small_runs import ROOT


def script(path):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_results_are_those_of_the_tables():
    results = script(ROOT / "docs" / "results.py")
    assert (ROOT / "docs" / "results.md").read_text() == results.page(results.kept())


def test_the_comparison_is_that_of_the_tables():
    comparison = script(ROOT / "tests" / "benchmarks" / "comparison.py")
    assert (ROOT / "docs" / "comparison.md").read_text() == comparison.document()
