"""docs/extending.md is followed word by word, in a project folder that lies outside the repository."""

import csv
import json
import re
import shlex

import pytest

from tiny_runs import ROOT
from working_folder import WorkingFolder

pytestmark = pytest.mark.processes

PAGE = (ROOT / "docs/extending.md").read_text()
FILES = re.findall(r"^`([\w./]+)`\n\n```\w+\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^\$ (.*)$", PAGE, flags=re.MULTILINE)
SCRIPTS = {"train": ["train.py"], "evaluate": ["evaluate.py"]}  # the door of a clone, where the page says `diptych`


def follow(project, line, status=0):
    """Types a line of the page, in the project's folder; returns what it said."""
    words = shlex.split(line)
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        project.environment[name] = value
    if words[:2] == ["python", "-m"]:
        return project.run(*words[2:], status=status)
    assert words[0] == "diptych"
    return project.run(*SCRIPTS.get(words[1], ["diptych", words[1]]), *words[2:], status=status)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    for name, text in FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    project = WorkingFolder(folder)
    project.environment.pop("DIPTYCH_TRUST", None)
    return project


def test_each_part_is_one_file_one_yaml_one_test():
    names = [name for name, _ in FILES]
    assert len(set(names)) == len(names)
    for part in ("A metric", "A loss", "A backbone", "A dataset", "A stage"):
        section = PAGE.split(f"## {part}\n")[1].split("\n## ")[0].split("A pipeline is a list")[0]
        kinds = [name.split("/")[0] for name in re.findall(r"^`([\w./]+)`$", section, flags=re.MULTILINE)]
        assert kinds == ["mine", "conf", "tests"], part


def test_the_page_is_followed(project):
    tests, train, evaluate, pipeline, evaluate_trusting = COMMANDS
    assert re.search(r"\d+ passed", follow(project, tests))

    assert "mean_rank" in follow(project, train)
    run = project.folder / "runs/swatches/latest"
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["about"]["mean_rank"] == {"unit": "count", "better": "lower"}
    with (run / "metrics.csv").open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row.get("train/loss")]
    assert losses[-1] < losses[0]

    refusal = follow(project, evaluate, status=1)
    assert "is not allowed in a checkpoint's config; nothing was built" in refusal and "DIPTYCH_TRUST" in refusal

    follow(project, pipeline)
    records = (project.folder / "runs/brightness/brightness/records.jsonl").read_text().splitlines()
    assert len(records) == len(list((project.folder / "data/swatches").glob("*.png"))) > 50
    assert all(0 <= json.loads(record)["brightness"] <= 255 for record in records)

    assert "swatches test" in follow(project, evaluate_trusting)
