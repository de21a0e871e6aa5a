"""The table and the plot of runs, from the folders that they left."""

from __future__ import annotations

import csv
import json
import math

import pytest
from PIL import Image

from diptych.storage.run_status import Objective
from diptych.sweeping.plot import FILE as PLOT
from diptych.sweeping.plot import Point, numeric_parameter, write_plot
from diptych.sweeping.run_records import differing_overrides, find_runs, group_names, short_names
from diptych.sweeping.table import write_table
from run_folders import captions_result, result, status, write_run


def rows_of(folder):
    return {row["run"]: row for row in csv.DictReader((folder / "sweep.csv").open())}


@pytest.fixture
def sweep(tmp_path):
    """Runs in every state, `latest` pointing at one of them, and folders that are no runs."""
    for number, hits in ((0, [1, 0, 0, 0]), (2, [1, 1, 0, 0]), (10, [1, 1, 1, 0])):
        write_run(tmp_path / str(number), status([f"system/model=m{number}"]), result(hits))
    write_run(tmp_path / "3", status(["seed=3"], state="failed", error="Trace\n  line\nValueError: no [data] at all\n"))
    write_run(tmp_path / "4", status(["seed=4"], state="running", step=40))
    write_run(tmp_path / "5", status(["seed=5"], state="stopped", step=7, objective=None))
    write_run(tmp_path / "6", status(["seed=6"], state="waiting", objective=None, seconds=0.0))
    write_run(tmp_path / "7", status(["seed=7"]))
    (tmp_path / "latest").symlink_to("10")
    (tmp_path / "notes").mkdir()
    write_run(tmp_path / "0/checkpoints", None, result())  # whatever lies in a run is not a run
    write_run(tmp_path / ".submitit/1", None, result())
    return tmp_path


def test_every_run_has_a_row_in_the_order_of_its_number(sweep, capsys):
    write_table(sweep)
    rows = rows_of(sweep)
    assert list(rows) == ["0", "2", "3", "4", "5", "6", "7", "10"]
    assert {name: row["state"] for name, row in rows.items()} == {
        "0": "done",
        "2": "done",
        "3": "failed: ValueError: no [data] at all",
        "4": "running at step 40, best val/recall_at_1 0.5000",
        "5": "stopped at step 7",
        "6": "waiting",
        "7": "done, without metrics",
        "10": "done",
    }
    assert rows["2"]["recall_at_1"] == "0.5" and rows["4"]["recall_at_1"] == ""
    assert (rows["2"]["recall_at_1 low"], rows["2"]["recall_at_1 high"]) == ("0.4", "0.6")
    assert "recall_at_5 low" not in rows["2"]  # null bounds are no interval
    assert rows["2"]["overrides"] == "experiment=cir_rooms trainer=cpu system/model=m2"
    assert float(rows["2"]["device_hours"]) == 2.0 and "cost" not in rows["2"]
    printed = capsys.readouterr().out
    assert "all runs: experiment=cir_rooms trainer=cpu" in printed and printed.count("experiment=") == 1
    assert "75.00" in printed and "[65.0, 85.0]" in printed and "no [data] at all" in printed
    assert "best recall_at_1 (%): 75.00 [65.0, 85.0], run 10 (model=m10)" in printed
    assert "1:00" in printed and "together 14.00 device-hours (cpu)" in printed


def test_time_costs_money_when_it_has_a_price(tmp_path, capsys):
    write_run(tmp_path / "0", status(seconds=5400.0, processes=4), result())
    write_table(tmp_path, price_per_device_hour=2.5)
    assert rows_of(tmp_path)["0"]["cost"] == "15.0"
    printed = capsys.readouterr().out
    assert "1:30" in printed and "6.00" in printed and "cost 15.00" in printed


@pytest.mark.parametrize(
    "unlike",
    [
        {"gallery": "b" * 64},
        {"split": "test"},
        {"data": ["cirr"]},
        {"queries": {"scored": 3, "expected": 4}},
        {"protocol": {"line": "rooms_val v2", "gallery": "all images"}},
        {"protocol": {"line": "rooms_val v1", "gallery": "all images", "exclude_reference": True}},
    ],
)
def test_unlike_measures_share_no_column(tmp_path, capsys, unlike):
    write_run(tmp_path / "0", status(), result([1, 0, 0, 0]))
    write_run(tmp_path / "1", status(), result([1, 1, 0, 0], **unlike))
    write_run(tmp_path / "2", status(), result([1, 1, 1, 0]))
    write_table(tmp_path)
    rows = rows_of(tmp_path)
    assert not any(name in rows["0"] for name in ("recall_at_1", "recall_at_1 low", "median_rank"))
    assert [(row["recall_at_1 [A]"], row["recall_at_1 [B]"]) for row in rows.values()] == [
        ("0.25", ""),
        ("", "0.5"),
        ("0.75", ""),
    ]
    printed = capsys.readouterr().out
    (name,) = unlike
    fact = "reference image" if "exclude_reference" in str(unlike) else name
    assert f"\n[A] {fact}: " in printed and f"\n[B] {fact}: " in printed and "do not compare" in printed
    assert "best recall_at_1 (%) [A]: 75.00" in printed and "best recall_at_1 (%) [B]: 50.00" in printed


def test_evaluations_are_listed_and_keep_their_own_words(tmp_path, capsys):
    write_run(tmp_path / "2026", status(["seed=1"]), result())
    for name, split in (("a", "val"), ("b", "test")):
        folder = write_run(tmp_path / "eval" / name, None, result(split=split))
        (folder / ".hydra").mkdir()
        (folder / ".hydra/overrides.yaml").write_text(f"- ckpt=best.ckpt\n- split={split}\n")
    (tmp_path / "work/articles").mkdir(parents=True)
    (tmp_path / "work/articles/metrics.json").write_text(json.dumps({"metrics": {"articles": {"recall_at_1": 1.0}}}))
    records = write_table(tmp_path)
    assert [record.name for record in records] == ["2026", "eval/a", "eval/b"]
    assert group_names(records) == {"2026": "A", "eval/a": "A", "eval/b": "B"}
    shared, own = differing_overrides(records)
    assert shared == [{}, {"ckpt": "best.ckpt"}] and own["eval/b"] == {"split": "test"}
    assert rows_of(tmp_path)["eval/b"]["overrides"] == "ckpt=best.ckpt split=test"
    assert "all evaluations: ckpt=best.ckpt" in capsys.readouterr().out


def test_a_run_is_a_folder_of_one_run(tmp_path):
    write_run(tmp_path / "0", status(), result())
    write_run(tmp_path / "0/eval/x", None, result(split="test"))
    assert [record.name for record in find_runs(tmp_path / "0")] == ["0", "eval/x"]


def test_captions_are_judged_by_a_loss_that_metrics_json_does_not_have(tmp_path, capsys):
    for name, loss, cider in (("0", 2.5, 0.1), ("1", 1.5, None)):
        objective = Objective("val/loss", "min", loss)
        write_run(tmp_path / name, status([f"seed={name}"], objective=objective), captions_result(cider=cider))
    write_table(tmp_path)
    rows = rows_of(tmp_path)
    assert rows["1"]["val/loss"] == "1.5" and rows["1"]["cider"] == "" and rows["0"]["cider"] == "0.1"
    printed = capsys.readouterr().out
    assert "best val/loss: 1.5000, run 1 (seed=1)" in printed and "0.1000" in printed and "–" in printed


def test_a_metric_of_ones_own_is_shown_and_judged_as_it_says(tmp_path, capsys, drawn):
    """`mean_rank`: not in percent, and its lowest is the best, whether the run's status says so or not."""
    about = {"mean_rank": {"unit": "count", "better": "lower"}, "words": {"unit": "count", "better": None}}
    protocol = {"line": "own v1", "gallery": "all images", "primary_metric": "mean_rank"}
    objectives = (None, Objective("val/mean_rank", None), Objective("val/mean_rank", "min", 2.5))
    for number, (objective, rank) in enumerate(zip(objectives, (12.25, 30.0, 18.0), strict=True)):
        record = result(metrics={"words": 9.0, "mean_rank": rank}, intervals={}, about=about, protocol=protocol)
        write_run(tmp_path / str(number), status([f"seed={number}"], objective=objective), record)
    records = write_table(tmp_path)
    assert [record.primary for record in records] == [("mean_rank", "min")] * 3
    assert [record.judged for record in records] == [["mean_rank"]] * 3
    printed = capsys.readouterr().out
    assert "best mean_rank: 12.2, run 0 (seed=0)" in printed and "30.0" in printed and "1225" not in printed
    assert "(%)" not in printed and "words" not in printed
    assert rows_of(tmp_path)["0"]["mean_rank"] == "12.25" and rows_of(tmp_path)["0"]["words"] == "9.0"
    write_plot(tmp_path, records)
    assert "mean_rank, lower is better" in drawn[0].axes[0].get_title("left")
    del protocol["primary_metric"]
    record = result(metrics={"words": 9.0, "mean_rank": 1.0}, about=about, protocol=protocol)
    (alone,) = find_runs(write_run(tmp_path / "alone", None, record))
    assert alone.primary == ("mean_rank", "min")


def test_a_damaged_meaning_is_no_result(tmp_path):
    record = result(about={"recall_at_1": {"unit": "percent", "better": "higher"}})
    (run,) = find_runs(write_run(tmp_path / "0", status(), record))
    assert run.result is None and "not the result of an evaluation" in run.problem


def test_of_equal_runs_each_is_best(tmp_path, capsys):
    for name in "012":
        write_run(tmp_path / name, status([f"seed={name}"]), result([1, int(name != "1")]))
    write_table(tmp_path)
    printed = capsys.readouterr().out
    assert [line.split(", run ")[1] for line in printed.splitlines() if "best " in line] == ["0 (seed=0)", "2 (seed=2)"]


def test_damaged_files_are_named_and_hide_no_other_run(tmp_path, capsys):
    write_run(tmp_path / "0", status(), result([1, 1]))
    write_run(tmp_path / "1", status())
    (tmp_path / "1/metrics.json").write_text('{"metrics":')
    (tmp_path / "2").mkdir()
    (tmp_path / "2/status.json").write_text("[]")
    write_table(tmp_path)
    rows = rows_of(tmp_path)
    assert rows["0"]["recall_at_1"] == "1.0"
    assert rows["1"]["state"].startswith("done; unreadable: ") and "1/metrics.json" in rows["1"]["state"]
    assert "2/status.json" in rows["2"]["state"]


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no run lies here"):
        write_table(tmp_path)
    with pytest.raises(ValueError, match="no such folder"):
        write_table(tmp_path / "none")
    assert not (tmp_path / "sweep.csv").exists()


def test_names_are_short_where_that_is_clear():
    words = [
        {"system.optimizer.lr": "1"},
        {"system/model": "a", "system/generation@generation": "greedy", "~system.model.dropout": "null"},
        {"a.seed": "1", "b.seed": "2"},
    ]
    assert short_names(words) == {
        "system.optimizer.lr": "lr",
        "system/model": "model",
        "system/generation@generation": "generation",
        "~system.model.dropout": "~dropout",
        "a.seed": "a.seed",
        "b.seed": "b.seed",
    }


def point(name, value, seed=None, **setting):
    return Point(name, tuple(setting.items()), seed, value, None)


@pytest.mark.parametrize(
    ("settings", "parameter"),
    [
        ([{"lr": "1e-3"}, {"lr": "0.01"}], "lr"),
        ([{"lr": "1e-3"}, {"lr": "0.001"}], None),
        ([{"lr": "1e-3"}, {"lr": "auto"}], None),
        ([{"lr": "1e-3"}, {}], None),
        ([{"lr": "1e-3", "wd": "1"}, {"lr": "0.01", "wd": "2"}], None),
        ([{}, {}], None),
    ],
)
def test_the_plot_runs_along_the_only_number_that_varies(settings, parameter):
    assert numeric_parameter([point("0", 1.0, **words) for words in settings]) == parameter


def test_a_curve_over_decades_has_every_seed_and_names_the_best(tmp_path, drawn):
    for number, (lr, hits) in enumerate((("1e-4", [1, 0]), ("1e-2", [1, 1]), ("1e-3", [0, 0]))):
        for seed in (1, 2):
            words = [f"system.optimizer.lr={lr}", f"seed={seed}"]
            write_run(tmp_path / f"{2 * number + seed}", status(words), result(hits))
    assert write_plot(tmp_path, find_runs(tmp_path)) == tmp_path / PLOT
    (ax,) = drawn[0].axes
    assert ax.get_xscale() == "log" and ax.get_xlabel() == "lr"
    assert ax.get_title("right") == "best: lr=0.01, mean 100.00 of 2 runs"
    means = next(line for line in ax.lines if len(line.get_xdata()) == 3)
    assert list(means.get_xdata()) == [1e-4, 1e-3, 1e-2] and list(means.get_ydata()) == [50.0, 0.0, 100.0]
    assert len(ax.containers) == 6  # a point with its interval per run
    assert Image.open(tmp_path / PLOT).width > 800


def test_rows_are_sorted_and_a_group_has_its_own_panel(sweep, drawn):
    write_run(sweep / "11", status(["seed=1"]), result([1, 1], gallery="b" * 64))
    write_plot(sweep, find_runs(sweep))
    first, second = drawn[0].axes
    labels = [label.get_text().split("\n") for label in first.get_yticklabels()]
    assert [label[0] for label in labels] == ["run 10", "run 2", "run 0"]
    assert labels[0] == ["run 10", "model=m10", "75.00"]
    assert "[A]" in first.get_title("left") and "[B]" in second.get_title("left")
    notes = drawn[0]._supxlabel.get_text()
    assert "without a value: 3 (failed), 4 (running" in notes and "do not compare" in notes


def test_a_lower_loss_is_better(tmp_path, drawn):
    for name, loss in (("0", 2.5), ("1", 1.5)):
        write_run(tmp_path / name, status([f"loss={name}x"], objective=Objective("val/loss", "min", loss)), result())
    write_plot(tmp_path, find_runs(tmp_path))
    assert [label.get_text().split("\n")[0] for label in drawn[0].axes[0].get_yticklabels()] == ["run 1", "run 0"]


def test_without_values_there_is_no_plot(tmp_path):
    write_run(tmp_path / "0", status(state="waiting"))
    write_run(tmp_path / "1", status(objective=None), captions_result(cider=math.nan))
    assert write_plot(tmp_path, find_runs(tmp_path)) is None and not (tmp_path / PLOT).exists()


@pytest.mark.hostile("further doors")
def test_a_stranger_s_run_neither_calculates_nor_paints(tmp_path, capsys):
    about = status(["+x=\x1b[31m$\\bad$"], state="failed", error="\x1b]0;mine\x07[/bold]", device="@SUM(1+1)*cmd")
    write_run(tmp_path / "0", about)
    write_run(tmp_path / "1", status(["seed=1"]), result([1, 1]))
    write_plot(tmp_path, write_table(tmp_path))
    assert rows_of(tmp_path)["0"]["device"] == "'@SUM(1+1)*cmd"
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "\x07" not in printed and "bold" in printed
