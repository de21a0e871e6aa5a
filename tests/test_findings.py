"""docs/findings.md says what the tables in docs/findings say."""

import csv
import re

import pytest

from tiny_runs import ROOT

PAGE = (ROOT / "docs/findings.md").read_text()
NUMBER = r"[+-]?\d+\.\d+"
SAID = re.compile(rf"({NUMBER}) -> ({NUMBER}), ({NUMBER}) \[({NUMBER}), ({NUMBER})\]")
STUDY = re.compile(r"`diptych study (\w+)( quick=true)?")  # its table is called as its folder
COLUMNS = ("control mean", "mean", "difference", "difference low", "difference high")


def rows(table):
    with table.open() as file:
        return [row for row in csv.DictReader(file) if row["difference low"]]


def tables_of(text):
    return [name + quick.strip().replace("quick=true", "_quick") for name, quick in STUDY.findall(text)]


TABLES = {table.stem: rows(table) for table in sorted((ROOT / "docs/findings").glob("*.csv"))}


@pytest.mark.parametrize("section", PAGE.split("\n## ")[1:], ids=lambda text: text.partition("\n")[0])
def test_every_comparison_is_one_of_its_study(section):
    """With as many digits as it is written with, in percent or as it is stored."""
    said = SAID.findall(" ".join(section.split()))  # some stand on two lines
    studies = tables_of(section)
    assert bool(said) == bool(studies)
    stored = [[float(row[column]) for column in COLUMNS] for study in studies for row in TABLES[study]]
    for numbers in said:
        digits = [len(number.partition(".")[2]) for number in numbers]
        wanted = [float(number) for number in numbers]
        scaled = (
            [round(scale * value, at) for value, at in zip(row, digits, strict=True)]
            for row in stored
            for scale in (1, 100)
        )
        assert wanted in scaled, numbers


def test_every_table_is_told_of():
    assert set(tables_of(PAGE)) == set(TABLES)
