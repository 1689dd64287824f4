"""What every stage's script begins with."""

import os
import subprocess
import sys

SCRIPT = """
import sys
import pyarrow.parquet as pq
from hamp.command import run
from hamp.tables import ERRORS, build, read, write

def main():
    write(build(ERRORS, {"candidate": ["a"], "error": [0.5], "images": [2]}), "errors.parquet")
    table = read("errors.parquet", ERRORS)
    assert table["error"].to_numpy().tolist() == [0.5]
    assert "pandas" not in sys.modules
    assert table.to_pandas()["error"].tolist() == [0.5]

run(main)
"""


def test_a_stage_reads_and_writes_tables_without_pandas_and_may_still_use_it(tmp_path):
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, check=True)


def test_a_stage_that_is_run_by_hand_computes_with_as_many_threads_as_the_workflow():
    script = """
from hamp.command import run
def main():
    import numpy
    from threadpoolctl import threadpool_info
    assert {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"} == {1}
run(main)
"""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
