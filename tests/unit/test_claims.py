"""Of two writers of one output the one that began last wins, at whatever moment the other was overtaken."""

import os
import subprocess
import sys
import threading
import time

import psutil
import pytest

from hamp import claims
from hamp.claims import claim
from hamp.command import StageParser
from hamp.errors import UserError
from hamp.tables import atomic


def write(path, text, meanwhile=lambda: None):
    with atomic(path) as temporary:
        temporary.write_text(text)
        meanwhile()


def output_of_a_job(path):
    parser = StageParser()
    parser.outputs("output")
    return parser.parse_args(["--output", str(path)]).output


@pytest.fixture(autouse=True)
def jobs_begin_now(monkeypatch):
    """Every job of these tests is this process, which began long before."""
    monkeypatch.setattr(claims, "began", time.time)


def test_a_job_that_wakes_when_another_has_finished_loses(tmp_path):
    path = tmp_path / "table.parquet"
    command = [sys.executable, "-c", f"from hamp.claims import claim; input(); claim({str(path)!r})"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as held:
        write(output_of_a_job(path), "current")
        later = time.time() + claims.MARGIN + 1
        os.utime(path, (later, later))
        _, told = held.communicate("\n")
    assert held.returncode == 1
    assert "another job began" in told
    assert path.read_text() == "current"


def test_a_job_alone_writes_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "folder" / "table.parquet"
    write(output_of_a_job(path), "content")
    assert path.read_text() == "content"
    assert list(path.parent.iterdir()) == [path]


def test_a_job_overtaken_by_a_finished_one_loses(tmp_path):
    path = tmp_path / "table.parquet"
    stale, current = output_of_a_job(path), output_of_a_job(path)
    write(current, "current")
    with pytest.raises(UserError, match=r"table.parquet: another job began"):
        write(stale, "stale")
    assert path.read_text() == "current"
    assert list(tmp_path.iterdir()) == [path]


def test_a_job_overtaken_by_one_that_still_works_loses(tmp_path):
    path = tmp_path / "table.parquet"
    stale, current = output_of_a_job(path), output_of_a_job(path)
    with pytest.raises(UserError):
        write(stale, "stale")
    assert not path.exists()
    write(current, "current")
    assert path.read_text() == "current"


def test_a_job_overtaken_while_it_writes_loses(tmp_path):
    path = tmp_path / "table.parquet"
    stale = output_of_a_job(path)
    with pytest.raises(UserError):
        write(stale, "stale", lambda: write(output_of_a_job(path), "current"))
    assert path.read_text() == "current"


def test_a_finished_job_s_output_may_be_made_again(tmp_path):
    path = tmp_path / "table.parquet"
    write(output_of_a_job(path), "first")
    write(output_of_a_job(path), "second")
    write(path, "by hand")
    assert path.read_text() == "by hand"


def test_a_failure_leaves_the_old_output(tmp_path):
    path = claim(tmp_path / "table.parquet")
    path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        write(path, "half", lambda: 1 / 0)
    assert path.read_text() == "old"


def test_names_that_begin_alike_do_not_disturb_each_other(tmp_path):
    first, second = claim(tmp_path / "errors-1"), claim(tmp_path / "errors-1-of-2")
    write(first, "first")
    write(second, "second")
    assert first.read_text() == "first"
    assert second.read_text() == "second"


def test_of_many_that_begin_in_turn_and_end_at_once_the_last_wins(tmp_path):
    path = tmp_path / "table.parquet"
    made = [claim(path) for _ in range(8)]
    lost = []

    def finish(number):
        try:
            write(made[number], str(number))
        except UserError:
            lost.append(number)

    threads = [threading.Thread(target=finish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() == "7"
    assert sorted(lost) == list(range(7))


def test_a_job_whose_parents_are_hidden_begins_with_its_process(monkeypatch):
    """As where /proc is mounted with hidepid."""
    monkeypatch.undo()

    def hidden(self):
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "terminal", lambda self: None)
    monkeypatch.setattr(psutil.Process, "parents", hidden)
    assert claims.began() == psutil.Process().create_time()
