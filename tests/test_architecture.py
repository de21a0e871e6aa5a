"""Imports point one way, libraries stay in their rooms, and packages re-export nothing."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

import diptych

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "diptych"
FILES = sorted(PACKAGE.rglob("*.py"))

# Every room of the house, from the ground up: a room may import rooms that stand before it, and itself.
ROOMS = (
    "extras",
    "contracts",
    "storage",
    "loggers",
    "parallel",
    "ranking",
    "photos",
    "text",
    "losses",
    "verification",
    "callbacks",
    "models",
    "metrics",
    "config",
    "data",
    "index",
    "systems",
    "synthetic",
    "annotation",
    "stages",
    "results",
    "submission",
    "report",
    "api",
    "app",
    "sweeping",
    "studying",
    "commands",
    "doors",
)
DOORS = ("__main__", "pipeline", "doctor", "export", "shards", "pairs", "sweep")  # python -m diptych.<door>
CONCRETE = ("data", "models", "losses")  # what systems get from Hydra, never by import
CONFIG_ROOMS = ("config", "commands", "sweeping", "studying", "doors")
LIBRARIES = {
    "hydra": CONFIG_ROOMS,
    "omegaconf": CONFIG_ROOMS,
    "lightning": ("systems", "stages", "data", "callbacks", "loggers", "parallel", "config", "commands"),
    "torch.distributed": ("parallel",),
    "gradio": ("app",),
}


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    name = parts[0].removesuffix(".py")
    return name if name in ROOMS else "doors"


@functools.cache
def imports(path: Path) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def test_every_room_has_its_floor():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert folders == set(ROOMS) - {"doors", "extras"}
    assert {path.stem for path in PACKAGE.glob("*.py")} == {*DOORS, "extras", "__init__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    own = room(path)
    below = ROOMS[: ROOMS.index(own) + 1]
    upward = [
        name
        for name in imports(path)
        if name.startswith("diptych.") and name.split(".")[1] not in (*below, "__version__")
    ]
    assert not upward, f"{path.relative_to(ROOT)} stands in {own} and imports {upward}"


def test_no_file_imports_itself_by_a_detour():
    """No circle between files, imports inside functions included."""
    modules = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in FILES
    }
    arrows = {
        module: {
            known
            for name in imports(path)
            for known in (name, name.rpartition(".")[0])
            if known in modules and known not in (module, "diptych")
        }
        for module, path in modules.items()
    }
    while leaves := [module for module, targets in arrows.items() if not targets]:
        for leaf in leaves:
            del arrows[leaf]
        for targets in arrows.values():
            targets.difference_update(leaves)
    assert arrows == {}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_libraries_stay_in_their_rooms(path):
    for library, rooms in LIBRARIES.items():
        used = [name for name in imports(path) if name == library or name.startswith(f"{library}.")]
        assert not used or room(path) in rooms, f"{path.relative_to(ROOT)} imports {used}; only {rooms} may"


@pytest.mark.parametrize("path", sorted((PACKAGE / "systems").rglob("*.py")), ids=lambda path: path.name)
def test_systems_know_no_concrete_part(path):
    concrete = [name for name in imports(path) if name.startswith(tuple(f"diptych.{part}." for part in CONCRETE))]
    assert not concrete


@pytest.mark.parametrize("path", sorted((PACKAGE / "stages").rglob("*.py")), ids=lambda path: path.name)
def test_stages_know_no_concrete_part(path):
    """Of data they know the files that pass between programs, not the datasets."""
    parts = ("models", "losses", "metrics", "data.news.openevents", "synthetic", "data.news.news_datamodule")
    concrete = [name for name in imports(path) if name.startswith(tuple(f"diptych.{part}" for part in parts))]
    assert not concrete


def test_packages_re_export_nothing():
    """But for the version and the two functions on top, which are imported when they are asked for."""
    top = PACKAGE / "__init__.py"
    assert [path for path in PACKAGE.rglob("__init__.py") if path != top and path.read_text().strip()] == []
    offered = {"__version__", "load_captioner", "load_retriever"}
    assert {*diptych.__all__} == offered <= {*dir(diptych)}
    for_checkers = {name for name in imports(top) if name.startswith("diptych.")}
    assert for_checkers == {f"diptych.api.{name.removeprefix('load_')}.{name}" for name in offered - {"__version__"}}
    script = "import sys, diptych; print(sorted(name for name in sys.modules if name.startswith(('diptych', 'torch'))))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert loaded == "['diptych']\n"


def test_entry_points_are_short():
    for name in ("train.py", "evaluate.py"):
        assert len((ROOT / name).read_text().splitlines()) < 40


def test_excluded_releases_are_not_installed():
    from importlib.metadata import version

    assert version("lightning") not in ("2.6.2", "2.6.3"), "malicious releases"
