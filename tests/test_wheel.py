"""The wheel, built from what the image's build sees: one name, every file, nothing beside it."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("configs", "storage", "models", "tasks", "flows")
OURS = {*FOLDERS, "reelvec", "tests"}
DATA = {
    "reelvec/py.typed",
    "reelvec/configs/presets/demo.yaml",
    "reelvec/flows/page/static/index.html",
    "reelvec/flows/page/static/page.css",
    "reelvec/flows/page/static/page.js",
    "reelvec/flows/page/static/base.js",
    "reelvec/flows/page/static/map.js",
    "reelvec/flows/page/static/icon.svg",
    "reelvec/storage/video/decoder_table.json",
    "reelvec/tasks/reports/rendering/queries.js",
    "reelvec/tasks/reports/rendering/style.css",
}


def admitted():
    """The names at the top of the repository that .dockerignore lets in."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert lines[1] == "*", "everything is left out that is not named"
    return [line[1:] for line in lines if line.startswith("!")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built as in the Dockerfile: COPY keeps links as they are."""
    folder = tmp_path_factory.mktemp("image")
    source, target = folder / "src", folder / "wheel"
    source.mkdir()
    for name in admitted():
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder like site-packages that holds the wheel's files."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_it_holds_one_folder_and_its_description(installed):
    (described,) = [path.name for path in installed.iterdir() if path.suffix == ".dist-info"]
    assert {path.name for path in installed.iterdir()} == {"reelvec", described}
    entry_points = (installed / described / "entry_points.txt").read_text()
    assert re.findall(r"^(\w+) = (\S+)$", entry_points, flags=re.M) == [
        ("reelvec", "reelvec.flows.cli:main")
    ]


def test_it_holds_every_file(installed):
    """Code and data as git keeps them, each once and as a file; no test, no link, no cache."""
    command = ["git", "ls-files", *FOLDERS, "reelvec"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    tracked = {path for path in listed.stdout.splitlines() if not (ROOT / path).is_symlink()}
    if not tracked:
        pytest.skip("no git checkout: what belongs here cannot be told")
    expected = {path if path.startswith("reelvec/") else f"reelvec/{path}" for path in tracked}
    found = {
        path.relative_to(installed).as_posix()
        for path in (installed / "reelvec").rglob("*")
        if path.is_file()
    }
    assert found >= DATA
    assert found == expected


def test_nothing_but_reelvec_is_importable(installed, tmp_path):
    look = (
        "import importlib.util, sys, reelvec\n"
        f"print(reelvec.__file__, sorted(n for n in {OURS} if importlib.util.find_spec(n)))"
    )
    done = run("-c", look, installed=installed, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(maxsplit=1) == [f"{installed}/reelvec/__init__.py", "['reelvec']\n"]


def test_the_command_of_the_wheel_finds_its_data(installed, tmp_path):
    done = run("-m", "reelvec.flows.cli", "presets", installed=installed, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout
    look = (
        "from reelvec.storage.video import decoder_table as table;"
        "print(table.shipped_table() is not None, table.__file__)"
    )
    done = run("-c", look, installed=installed, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"True {installed}/reelvec/storage/video/")


def run(*words, installed, folder):
    """Python in another folder, with the wheel before anything else that is installed here."""
    environment = os.environ | {"PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, "-P", *words],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
