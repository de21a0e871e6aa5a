"""What is installed is what was tested: every download has a hash, and nothing comes by a range."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOCKS = sorted([*ROOT.glob("requirements*.lock"), ROOT / "requirements-demo.txt"])

pytestmark = pytest.mark.hostile("supply chain")


def requirements(path: Path) -> list[str]:
    """The requirements of a file, each with the options that follow it."""
    text = re.sub(r"\\\n", "", path.read_text())
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_requirement_is_one_version_with_its_hashes(path):
    found = requirements(path)
    assert found
    for requirement in found:
        assert re.match(r"[\w.\[\]-]+==[\w.]+ ", requirement), requirement
        assert re.search(r" --hash=sha256:[0-9a-f]{64}", requirement), requirement


def test_the_makefile_installs_by_hash_and_diptych_itself_from_this_folder():
    text = (ROOT / "Makefile").read_text().replace("$(INSTALL)", "uv pip install")
    installing = re.findall(r"^\t.*pip install.*$", text, re.MULTILINE)
    assert len(installing) >= 5
    for line in installing:
        assert "--require-hashes -r " in line or "--no-deps --no-build-isolation --editable ." in line, line


def test_the_locks_are_those_that_the_makefile_installs():
    text = (ROOT / "Makefile").read_text()
    assert {path.name for path in LOCKS} <= set(re.findall(r"-r (requirements\S+)", text))
