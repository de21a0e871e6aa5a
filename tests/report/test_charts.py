"""Bars as long as their percent, and curves read from a log with gaps."""

import re

import pytest

from diptych.report.charts import Bar, read_curves
from diptych.report.rendering import environment


def test_bars_are_as_long_as_their_percent():
    draw = environment().get_template("charts.html.jinja").module.bar_chart
    chart = draw("recall", [("a <b>", [Bar("model", 50.0, (40.0, 60.0)), Bar("sum", None)])])
    assert re.findall(r'<rect class="(\w+)" [^>]*width="([\d.]+)"', chart) == [("model", "210.0")]
    assert "a &lt;b&gt;" in chart
    low, high = re.search(r'class="whisker" x1="([\d.]+)" y1="[\d.]+" x2="([\d.]+)"', chart).groups()
    assert float(high) - float(low) == pytest.approx(84.0)


def test_a_long_curve_is_thinned_out_and_a_missing_one_left_out(tmp_path, caplog):
    log = tmp_path / "metrics.csv"
    log.write_text("step,train/loss\n" + "".join(f"{step},1.0\n" for step in range(5000)), encoding="utf-8")
    points = read_curves(log, ["train/loss"])["train/loss"]
    assert len(points) <= 401
    assert points[0][0] == 0
    assert points[-1][0] == 4999
    assert read_curves(tmp_path / "absent.csv", ["train/loss"]) == {}
    assert "absent.csv" in caplog.text


@pytest.mark.hostile("hostile run folders")
@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b'step,"' + b"a" * 200_000, b"\0,\0\n\0", b"step,train/loss\n1,1,1\n,\n1e999,1\n"]
)
def test_a_stranger_s_table_stops_no_report(tmp_path, content):
    (tmp_path / "metrics.csv").write_bytes(content)
    assert read_curves(tmp_path / "metrics.csv", ["train/loss"]) == {}
