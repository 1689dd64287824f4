"""The digest of a stage's code follows what the stage runs, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hamp import digest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "workflow/scripts").glob("*.py"))
HEAVY = {"torch", "sklearn", "torchvision", "onnxruntime", "pymoo", "pandas"}
LIGHT = ["initial", "vary", "select", "hypervolume", "aggregate", "pareto", "evaluate", "measure"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package `hamp` of three modules, and a script that imports one, which imports another."""
    folder = tmp_path / "hamp"
    folder.mkdir()
    for name, text in {
        "__init__": "",
        "near": "from hamp.far import value\n",
        "far": '"""Text."""\n\n\ndef value():\n    """More text."""\n    return 1\n',
        "other": "value = 2\n",
    }.items():
        (folder / f"{name}.py").write_text(text)
    script = tmp_path / "stage.py"
    script.write_text("def main():\n    from hamp.near import value\n    print(value())\n")
    monkeypatch.setattr(digest, "ROOT", tmp_path)

    def now():
        digest._parsed.cache_clear()
        digest._exists.cache_clear()
        return digest.code_digest(script)

    yield tmp_path, now
    digest._parsed.cache_clear()
    digest._exists.cache_clear()


def test_large_files_are_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr(digest, "READ_WHOLE", 1000)
    monkeypatch.setattr(digest, "MEBIBYTE", 10)
    file = tmp_path / "large"
    contents = [bytes(1001), b"1" + bytes(1000), bytes(1000) + b"1", bytes(500) + b"1" * 20 + bytes(481), bytes(1002)]
    found = set()
    for content in contents:
        file.write_bytes(content)
        found.add(digest.file_digest(file))
    assert len(found) == len(contents)


def test_what_is_sent_to_a_remote_device_counts_as_code_that_measures():
    assert "hamp.hardware.remote_session" in digest.modules(ROOT / "workflow/scripts/measure.py")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("hamp/far.py", "return 1", "return 1  # one"),
        ("hamp/far.py", "More text.", "Other text."),
        ("hamp/far.py", "\n\n\n", "\n\n\n\n"),
        ("hamp/other.py", "2", "3"),
        ("stage.py", "print(value())", "print( value() )"),
    ],
)
def test_comments_docstrings_layout_and_unused_modules_do_not_count(package, file, old, new):
    folder, now = package
    before = now()
    path = folder / file
    path.write_text(path.read_text().replace(old, new))
    os.utime(path, (1, 1))
    assert now() == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("hamp/far.py", "return 1", "return 2"),
        ("hamp/near.py", "import value", "import value as value"),
        ("hamp/__init__.py", "", "x = 1\n"),
        ("stage.py", "print(value())", "print(-value())"),
    ],
)
def test_code_that_is_imported_directly_or_not_counts(package, file, old, new):
    folder, now = package
    before = now()
    path = folder / file
    path.write_text(path.read_text().replace(old, new) if old else new)
    assert now() != before


def imported(script):
    """Modules that a script has imported when it has shown its help."""
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{str(script)!r}, '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print('MODULES', *sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(result.stdout.rpartition("MODULES")[2].split())


@pytest.mark.parametrize("name", LIGHT)
def test_light_stages_start_without_heavy_libraries(name):
    assert not HEAVY & imported(ROOT / f"workflow/scripts/{name}.py")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_digest_covers_what_a_stage_imports(script):
    used = {name for name in imported(script) if name.partition(".")[0] == "hamp"}
    assert used <= digest.modules(script)
