"""What docs/annotation.md says can be typed, and the reasons that it lists are those that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from diptych.commands.pipeline import prepare_config, stage_runs
from diptych.data.pairs.image_pairs import read_pairs
from tiny_runs import ROOT, compose_pipeline

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs/annotation.md").read_text()
SECTIONS = {part.split("\n", 1)[0]: part for part in re.split(r"^##+ ", PAGE, flags=re.MULTILINE)}
NEEDED = {"propose_pairs": "images=i output=p.jsonl", "annotate_triplets": "pairs=p.jsonl out=o model=m"}


def overrides(section: str) -> list[str]:
    """The settings in the second column of a section's table, as a shell would pass them on."""
    cells = [line.split("|")[2] for line in SECTIONS[section].splitlines() if line.startswith("| ")]
    found = [word.strip("'") for cell in cells for word in re.findall(r"`([^`]*)`", cell)]
    return [word for setting in found for word in re.split(r" (?=\S+=)", setting) if re.match(r"\+?[a-z_.]+=", word)]


@pytest.mark.parametrize(
    ("pipeline", "setting"),
    [("propose_pairs", setting) for setting in overrides("1. Pairs")]
    + [("annotate_triplets", setting) for name in ("3. Asking", "Texts") for setting in overrides(name)],
)
def test_every_setting_is_one(pipeline, setting):
    asker = ["asker=batch"] if setting.split("=")[0] in ("asker.api_key_env", "asker.temperature") else []
    agreement = ["agreement=clip"] if setting.startswith("filtering.") else []
    combine = ["annotation/combine=joined"] if setting == "combine.singles=true" else []
    words = [f"pipeline={pipeline}", *NEEDED[pipeline].split(), *asker, *agreement, *combine, setting]
    assert stage_runs(prepare_config(compose_pipeline(*words)))


def test_enough_settings_are_found():
    assert len(overrides("1. Pairs")) >= 5 and len(overrides("3. Asking")) >= 6 and len(overrides("Texts")) >= 8


def test_the_commands_compose():
    lines = re.findall(r"^python -m diptych\.pipeline (.*?)(?: +# \d)?$", PAGE, flags=re.MULTILINE)
    assert len(lines) == 15
    for line in lines:
        words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", line)]
        assert stage_runs(prepare_config(compose_pipeline(*words)))


def test_the_examples_are_read(tmp_path):
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "pairs.jsonl").write_text(example)
    (tmp_path / "a.jpg").touch()
    first, second = read_pairs(tmp_path / "pairs.jsonl").pairs
    assert (first.pair_id, first.group, second.target_image) == ("optional", "hotel-7", "/photos/d.png")


def test_every_reason_is_one():
    rows = [line.split("|") for line in SECTIONS["Why a pair is not there"].splitlines() if line.startswith("| `")]
    dropped = SECTIONS["Why a pair is not there"].rpartition("Texts are dropped as")[2]
    reasons = {word for row in rows for word in re.findall(r"`(\w+)`", row[1])} | set(re.findall(r"`(\w+)`", dropped))
    source = "".join(path.read_text() for path in Path(ROOT / "src/diptych").rglob("*.py"))
    absent = [word for word in reasons if f'"{word}"' not in source and not word.startswith("batch_")]
    assert len(reasons) > 35 and not absent
