"""What an installed copy consists of: the wheel, built from the files as they lie here, and by way of an sdist."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import diptych

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[1]
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"


def build(what: str, source: Path, output: Path) -> Path:
    subprocess.run([sys.executable, "-c", BUILD, what, str(output)], cwd=source, check=True, capture_output=True)
    return next(output.glob("diptych-*"))


def test_no_large_file_is_kept():
    """Nothing that a run or a benchmark has left."""
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout: nobody says which files are kept")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    kept = [ROOT / name for name in listed.split("\0") if name]
    assert [path.name for path in kept if path.is_file() and path.stat().st_size > 2**20] == []


def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of what a package is built from: building leaves folders in its source."""
    folder = tmp_path_factory.mktemp("source") / "diptych"
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("src", "conf"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    return build("build_wheel", source, tmp_path_factory.mktemp("wheel"))


def test_a_wheel_holds_all_code_and_all_configs(wheel):
    code = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    configs = {f"diptych/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")}
    resources = {
        path.relative_to(ROOT / "src").as_posix()
        for folder in ("report/templates", "synthetic")
        for path in (ROOT / "src" / "diptych" / folder).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert len(configs) > 100
    assert "hydra_plugins/diptych.py" in code
    assert code | configs | resources | {"diptych/py.typed"} <= names(wheel)


def test_a_wheel_says_its_version_licence_and_command(wheel):
    about = f"diptych-{diptych.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"{about}/METADATA").decode().splitlines()
        commands = archive.read(f"{about}/entry_points.txt").decode()
        assert "MIT License" in archive.read(f"{about}/licenses/LICENSE").decode()
    assert {"License-Expression: MIT", f"Version: {diptych.__version__}", "Provides-Extra: all"} <= set(metadata)
    assert any(line.startswith("Requires-Dist: torch<") and "extra" not in line for line in metadata)
    assert "diptych = diptych.commands" in commands


def test_a_wheel_by_way_of_an_sdist_is_the_same(wheel, source, tmp_path):
    for folder in ("sdist", "unpacked", "wheel"):
        (tmp_path / folder).mkdir()
    with tarfile.open(build("build_sdist", source, tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    again = build("build_wheel", next((tmp_path / "unpacked").iterdir()), tmp_path / "wheel")
    assert names(again) == names(wheel)
