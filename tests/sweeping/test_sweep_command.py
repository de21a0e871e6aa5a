"""`python -m diptych.sweep`: what it writes and prints, and how it refuses."""

from __future__ import annotations

import pytest

from diptych.commands.main import run
from run_folders import result, status, write_run


@pytest.fixture
def sweep(tmp_path):
    for number, hits in enumerate(([1, 0, 0, 1], [1, 1, 0, 1])):
        scores = [{"query_id": f"q{row}", "recall_at_1": hit} for row, hit in enumerate(hits)]
        write_run(tmp_path / str(number), status([f"seed={number}"]), result(hits), scores)
    return tmp_path


def test_a_table_and_a_plot(sweep, capsys):
    assert run("sweep", [f"table={sweep}", "price_per_device_hour=2.5"]) == 0
    assert (sweep / "sweep.csv").is_file() and (sweep / "sweep.png").is_file()
    printed = capsys.readouterr().out
    assert "75.00" in printed and "cost 10.00" in printed and str(sweep / "sweep.png") in printed


def test_runs_without_values_get_a_table_only(tmp_path, capsys):
    write_run(tmp_path / "0", status(state="waiting"))
    assert run("sweep", [f"table={tmp_path}"]) == 0
    assert "no plot" in capsys.readouterr().out and not (tmp_path / "sweep.png").exists()


@pytest.mark.parametrize("form", ["[{0}/0,{0}/1]", "{0}/0,{0}/1", "[{0}/0, {0}/1]"])
def test_two_runs(sweep, capsys, form):
    assert run("sweep", [f"compare={form.format(sweep)}"]) == 0
    printed = capsys.readouterr().out
    assert "+25.00" in printed and "recall_at_1 (%)" in printed and f"run 2: {sweep}/1" in printed


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "say either table=DIR, or compare="),
        (["table="], "say either table=DIR"),
        (["table=x", "compare=[a,b]"], "say either"),
        (["table=x", "price=2"], "unknown key 'price'. Known: table, price_per_device_hour"),
        (["table=x", "price_per_device_hour=free"], "price_per_device_hour=free: expected a number"),
        (["table=x", "price_per_device_hour=0"], "price_per_device_hour=0.0: expected a price"),
        (["table=no/such"], "no/such: there is no such folder"),
        (["compare=[a]"], "two folders are compared"),
        (["compare=[a,b]"], "a: there is no such folder"),
    ],
)
def test_mistakes_end_in_a_message(words, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("sweep", words) == 2
    assert told in capsys.readouterr().err
