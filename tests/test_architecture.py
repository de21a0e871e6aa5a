"""Imports point one way, libraries stay in their rooms, and packages re-export nothing."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "diptych"
FILES = sorted(PACKAGE.rglob("*.py"))

# contracts <- {distributed, ranking, ...} <- {data, models, ..., index} <- {systems, stages} <- entry points
LAYERS = {
    "contracts": 0,
    "distributed": 1,
    "ranking": 1,
    "ranked_queries": 1,
    "checkpoints": 1,
    "sharded_checkpoints": 1,
    "sharding": 1,
    "model_files": 1,
    "named_entities": 1,
    "record_log": 1,
    "sentences": 1,
    "ledger": 1,
    "ledger_file": 1,
    "ledger_batches": 1,
    "photo_file": 1,
    "photo_transform": 1,
    "image_urls": 1,
    "run_status": 1,
    "file_lock": 1,
    "data": 2,
    "models": 2,
    "losses": 2,
    "metrics": 2,
    "verification": 2,
    "index": 2,
    "annotation": 2,
    "systems": 3,
    "stages": 3,
    "callbacks": 3,
    "loggers": 2,
}
ENTRY = 4  # everything else: composition, training, evaluation, results, report, submission, doctor, ...
CONCRETE = ("data", "models", "losses")  # what systems get from Hydra, never by import
CONFIG_ROOMS = (
    "composition",
    "training",
    "evaluation",
    "sweep",
    "sweeping",
    "shards",
    "doctor",
    "submission",
    "export",
    "pipeline",
    "news_captioning",
    "trained_encoder",
)
ROOMS = {
    "hydra": CONFIG_ROOMS,
    "omegaconf": CONFIG_ROOMS,
    "lightning": (
        "systems",
        "stages",
        "data",
        "callbacks",
        "loggers",
        "checkpoints",
        "sharding",
        "training",
        "evaluation",
        "caption_scoring",
        "news_captioning",
    ),
    "torch.distributed": ("distributed", "sharding", "sharded_checkpoints"),
}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    own = LAYERS.get(room(path), ENTRY)
    for name in imports(path):
        if not name.startswith("diptych."):
            continue
        other = name.split(".")[1]
        if other == room(path):
            continue
        layer = LAYERS.get(other, ENTRY)
        assert layer < own or (own in (1, ENTRY) and layer == own), (
            f"{path.relative_to(ROOT)} (layer {own}) imports {name} (layer {layer})"
        )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_libraries_stay_in_their_rooms(path):
    for library, rooms in ROOMS.items():
        used = [name for name in imports(path) if name == library or name.startswith(f"{library}.")]
        assert not used or room(path) in rooms, f"{path.relative_to(ROOT)} imports {used}; only {rooms} may"


@pytest.mark.parametrize("path", sorted((PACKAGE / "systems").glob("*.py")), ids=lambda path: path.name)
def test_systems_know_no_concrete_part(path):
    concrete = [name for name in imports(path) if name.startswith(tuple(f"diptych.{part}." for part in CONCRETE))]
    assert not concrete


@pytest.mark.parametrize("path", sorted((PACKAGE / "stages").glob("*.py")), ids=lambda path: path.name)
def test_stages_know_no_concrete_part(path):
    """Of data they know the files that pass between programs, not the datasets."""
    parts = ("models", "losses", "metrics", "data.openevents", "data.newsroom", "data.news_datamodule")
    concrete = [name for name in imports(path) if name.startswith(tuple(f"diptych.{part}" for part in parts))]
    assert not concrete


def test_packages_re_export_nothing():
    assert [path for path in PACKAGE.rglob("__init__.py") if path.read_text().strip()] == []


def test_entry_points_are_short():
    for name in ("train.py", "evaluate.py"):
        assert len((ROOT / name).read_text().splitlines()) < 40


def test_excluded_releases_are_not_installed():
    from importlib.metadata import version

    assert version("lightning") not in ("2.6.2", "2.6.3"), "malicious releases"
