"""The report of a real run, opened from disk with the network cut off, and the command that its page shows."""

import json
import shlex
import subprocess
import sys
from zipfile import ZipFile

import numpy as np
import onnx
import onnxruntime
import pytest
from chromium import browser, needs_chromium, opened

from hamp import tables
from hamp.data.images import open_split
from hamp.results import Results

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


@pytest.fixture(scope="module")
def report(finished, tmp_path_factory):
    file = finished.results / "report.zip"
    finished.snakemake("--report", str(file.relative_to(finished.folder)))
    folder = tmp_path_factory.mktemp("report")
    with ZipFile(file) as archive:
        archive.extractall(folder)
    assert file.stat().st_size < 20e6
    return folder / "report" / "report.html"


@needs_chromium
def test_the_report_opens_and_shows_all_of_its_parts(finished, report):
    labels = {"Front": 4, "Search": 3, "Run": 2}  # on a described device nothing is measured
    with browser() as running, opened(running, report.as_uri(), height=1000) as page:
        page.get_by_text("multi-objective evolution").first.wait_for()
        for category, number in labels.items():
            page.get_by_text(category, exact=True).first.click()
            page.locator("tbody tr").first.wait_for()
            rows = page.locator("tbody tr")
            assert rows.count() == number
            for index in range(number):
                rows.nth(index).locator("a").first.click()
                page.wait_for_timeout(300)
                assert page.locator("img[src*='data/raw'], iframe[src*='data/raw']").count() == 1
                for image in page.locator("img[src*='data/raw']").all():
                    assert image.evaluate("(i) => i.decode().then(() => i.naturalWidth)") > 100
            page.goto(report.as_uri())


@needs_chromium
def test_the_command_on_the_page_writes_the_network_of_the_page(finished):
    page_file = finished.results / "report" / "front.html"
    with browser() as running, opened(running, f"{page_file.as_uri()}#prefer=knee") as page:
        command = page.inner_text("#command")
        shown = page.locator("#details h2").inner_text()
    words = shlex.split(command)
    assert words[:2] == ["hamp", "export"]
    finished.hamp(*words[1:], OMP_NUM_THREADS="1")
    row = {row["candidate"]: row for row in Results(finished.results).front.to_pylist()}[shown]
    file = finished.folder / f"{shown}.onnx"
    data = finished.results / "data"
    images = open_split(data / "images.safetensors", data / "splits.parquet", "test")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (outputs,) = session.run(None, {"image": images.images.numpy().astype(np.float32) / 255})
    wrong = int((outputs.argmax(1) != images.targets.numpy()).sum())
    assert abs(wrong - row["error_test"] * len(images)) <= 1
    told = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert json.loads(told["widths"]) == row["widths"]
    assert float(told["latency_ms"]) == row["latency_ms"]


def test_load_gives_the_network_of_the_front(finished):
    program = (
        "import hamp, torch, sys, numpy, onnxruntime\n"
        "folder, name, file = sys.argv[1:]\n"
        "network = hamp.load(folder, name)\n"
        "assert not network.training\n"
        "images = torch.rand(3, 1, 32, 32)\n"
        "session = onnxruntime.InferenceSession(file, providers=['CPUExecutionProvider'])\n"
        "found = session.run(None, {'image': images.numpy()})[0]\n"
        "assert numpy.abs(found - network(images).detach().numpy()).max() < 1e-4\n"
    )
    for row in Results(finished.results).front.to_pylist()[:2]:
        arguments = [str(finished.results), row["candidate"][:6], str(finished.results / row["onnx"])]
        subprocess.run([sys.executable, "-c", program, *arguments], env=finished.environment, check=True, cwd="/")


def test_one_line_a_generation_is_told(finished):
    for generation in range(finished.settings["search"]["generations"] + 1):
        log = finished.results / "logs" / "hamp" / "seed0" / f"gen{generation}" / "select.log"
        (line,) = log.read_text().splitlines()
        assert line.startswith(f"hamp, generation {generation}: ")
        archive = finished.results / "hamp" / "seed0" / f"gen{generation}" / "archive.parquet"
        assert f"{len(tables.read(archive, tables.EVALUATED))} evaluated" in line
