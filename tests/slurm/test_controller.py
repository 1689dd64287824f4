"""`hamp submit`, `hamp status` and `hamp resume` on a real cluster; the frozen copy; the choice of sacct or squeue."""

import socket
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import yaml
from small_runs import ROOT
from typer.testing import CliRunner

from hamp.cli.app import app
from hamp.cluster import controller
from hamp.cluster.freezing import freeze
from hamp.cluster.slurm import check_status_command, status_command
from hamp.configuration.blocks import Config
from hamp.configuration.validate import load
from hamp.errors import UserError

NONE, KEPT = (
    {"AccountingStorageType": "accounting_storage/none"},
    {"AccountingStorageType": "accounting_storage/slurmdbd"},
)


@pytest.mark.parametrize(
    ("settings", "command"),
    [
        (KEPT | {"MinJobAge": "300 sec"}, "sacct"),
        (KEPT | {"MinJobAge": "2 sec"}, "sacct"),
        (NONE | {"MinJobAge": "300 sec"}, "squeue"),
    ],
)
def test_the_command_that_tells_the_fate_of_jobs_is_chosen_by_looking(settings, command):
    assert status_command(settings) == command
    check_status_command(command, settings)


def test_a_cluster_on_which_a_run_would_wait_for_ever_is_refused():
    with pytest.raises(UserError, match="MinJobAge: 10 s"):
        status_command(NONE | {"MinJobAge": "10 sec"})
    with pytest.raises(UserError, match="keeps no accounts"):
        check_status_command("sacct", NONE | {"MinJobAge": "300 sec"})
    with pytest.raises(UserError, match="say 'sacct'"):
        check_status_command("squeue", KEPT | {"MinJobAge": "10 sec"})


def test_the_frozen_copy_keeps_what_a_run_reads_and_links_the_rest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {"nets/mine.py": "import layers", "nets/layers.py": "B = 1", "nets/data.bin": "d", "data/x": "x"}
    described = (ROOT / "resources/devices/jetson-nano.yaml").read_text()
    files |= {"boards/first.yaml": described, "boards/second.yaml": described}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    first, second = ({"runtime": "roofline", "description": f"boards/{name}.yaml"} for name in ("first", "second"))
    settings = {"name": "mine", "network": {"name": "nets/mine.py:net"}, "device": first, "devices": {"other": second}}
    settings |= {"objectives": ["error", "latency_ms", "latency_ms@other"], "measure": {"latency": "predicted"}}
    configuration = tmp_path / "settings.yaml"
    configuration.write_text(yaml.safe_dump(settings))
    for _ in range(2):  # the second time over the first
        folder = freeze(tmp_path, configuration, load(settings), ROOT / "workflow/profiles/slurm")
    for name in ("nets/mine.py", "nets/layers.py", "settings.yaml", "boards/first.yaml", "boards/second.yaml"):
        (tmp_path / name).write_text("changed")
    (tmp_path / "results" / "new").write_text("result")
    assert (folder / "nets/mine.py").read_text() == "import layers"
    assert (folder / "nets/layers.py").read_text() == "B = 1"
    assert yaml.safe_load((folder / "submitted.yaml").read_text()) == settings
    assert {(folder / f"boards/{name}.yaml").read_text() for name in ("first", "second")} == {described}
    assert (folder / "nets/data.bin").is_symlink()
    assert (folder / "data").is_symlink()
    assert (folder / "results/new").read_text() == "result"
    assert (folder / "hamp/digest.py").read_bytes() == (ROOT / "hamp/digest.py").read_bytes()
    assert not (folder / "hamp").is_symlink()
    assert not (folder / ".hamp").exists()


def test_paths_that_lead_out_of_the_working_directory_mean_the_same_in_the_frozen_copy(tmp_path, monkeypatch):
    working = tmp_path / "working"
    (working / "nets").mkdir(parents=True)
    monkeypatch.chdir(working)
    (tmp_path / "net.py").write_text("A = 1")
    settings = {"name": "mine", "network": {"name": "../net.py:make", "weights": "nets/../nets/w.pt"}}
    settings |= {"data": {"source": "image_folder", "root": "../images"}, "device": {"ssh": ["ssh", "-F", "../own"]}}
    configuration = working / "mine.yaml"
    configuration.write_text(yaml.safe_dump(settings))
    folder = freeze(working, configuration, Config.model_validate(settings), ROOT / "workflow/profiles/slurm")
    frozen = yaml.safe_load((folder / "submitted.yaml").read_text())
    assert frozen["network"] == {"name": f"{tmp_path}/net.py:make", "weights": "nets/../nets/w.pt"}
    assert frozen["data"]["root"] == f"{tmp_path}/images"
    assert frozen["device"]["ssh"] == ["ssh", "-F", f"{tmp_path}/own"]
    assert not (working / ".hamp" / "net.py").exists()


def test_prefixes_are_of_one_run_and_such_as_the_executor_takes():
    prefixes = [
        controller.prefix_of(Path(name)) for name in ("/a/results/x", "/b/results/x", "/a/results/" + "x.y" * 40)
    ]
    assert len(set(prefixes)) == 3
    assert all(len(prefix) <= 50 and set(prefix) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for prefix in prefixes)


def test_a_read_only_checkout_can_be_submitted_from_again(tmp_path, monkeypatch):
    """As nobody else than its owner may write into it; root may, so what is looked at is the copy."""
    monkeypatch.chdir(tmp_path)
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "config.yaml").write_text("executor: slurm")
    profile.chmod(0o555)
    (tmp_path / "mine.yaml").write_text("name: mine")
    folder = freeze(tmp_path, tmp_path / "mine.yaml", load({"name": "mine"}), profile)
    assert (folder / controller.PROFILE).stat().st_mode & 0o700 == 0o700
    profile.chmod(0o755)


def test_what_is_downloaded_stays_when_a_run_is_submitted_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"name": "mine", "data": {"source": "cifar10", "root": "data", "download": True, "image_size": 32}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    for _ in range(2):
        folder = freeze(tmp_path, tmp_path / "mine.yaml", load(settings), ROOT / "workflow/profiles/slurm")
        (folder / "data" / "images").touch()
    assert (tmp_path / "data" / "images").is_file()


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: [", "not YAML"), ("", "must be settings of Snakemake"), ("executor: local", "must be slurm")],
)
def test_a_wrong_profile_is_one_line(tmp_path, text, words):
    (tmp_path / "config.yaml").write_text(text)
    for place, told in ((tmp_path, words), (tmp_path / "config.yaml", "no such file")):
        with pytest.raises(UserError, match=told) as caught:
            controller.profile_of(place)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "given", [{"slurm_account": "ours", "qos": "high", "mem_mb": 8}, ["slurm_account=ours", "qos=high"]]
)
def test_the_controllers_job_is_charged_as_the_others(tmp_path, given):
    """Snakemake takes default resources in either form."""
    (tmp_path / controller.PROFILE).mkdir()
    (tmp_path / controller.PROFILE / "config.yaml").write_text(
        yaml.safe_dump({"executor": "slurm", "default-resources": given})
    )
    assert controller._account(controller.Run(tmp_path, "hamp-x")) == ["--account=ours", "--qos=high"]


def test_a_controller_elsewhere_is_asked_there_unless_it_is_gone(tmp_path, monkeypatch):
    run = controller.Run(tmp_path, "hamp-x", host="login9", process=1)
    monkeypatch.setattr(controller.slurm, "jobs_of", list)
    with pytest.raises(UserError, match=r"started on login9; ask there, or, if login9 is gone, .*`hamp resume --gone`"):
        controller.clear(run, print)
    controller.clear(run, print, gone=True)
    own = psutil.Process()
    living = replace(run, host=socket.gethostname(), process=own.pid, started=own.create_time())
    with pytest.raises(UserError, match="still controls this run"):
        controller.clear(living, print, gone=True)


def test_options_that_would_replace_the_profile_are_refused():
    arguments = ["submit", "mine.yaml", "--", "search", "--set-resources", "evaluate:runtime=600"]
    result = CliRunner().invoke(app, arguments)
    assert str(result.exception).startswith("--set-resources: would replace all that the profile sets")
