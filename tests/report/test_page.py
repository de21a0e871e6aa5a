"""The numbers of the retrieval report, as its page shows them."""

import re
from dataclasses import replace

from ranked_rooms import IMAGE_IDS, make_query, make_ranking, make_result

from diptych.report.page import number_sections
from diptych.report.write import write_report


def test_metrics_are_shown_in_percent_beside_the_baselines(tmp_path, image_paths):
    path = write_report(tmp_path, make_result(), [make_ranking(0, IMAGE_IDS, 2)], [make_query(0)], image_paths)
    text = path.read_text(encoding="utf-8")
    row = re.search(r'<tr><th scope="row">recall_at_1</th>(.*?)</tr>', text).group(1)
    assert re.findall(r"[\d.]+(?=<)", row) == ["72.34", "50.00", "25.00"]
    assert "<small>[68.0, 76.1]</small>" in row
    rank_row = re.search(r'<tr><th scope="row">median_rank</th>(.*?)</tr>', text).group(1)
    assert re.findall(r">([^<]*)</td>", rank_row) == ["2.0", "", ""]
    assert '<h2 id="changes">Recall by number of changes</h2>' in text
    assert re.search(r'<th scope="row">1 change</th><td>1</td><td class="model">80.00<small>\[70.0, 90.0\]', text)
    assert re.search(r'<th scope="row">2 changes</th><td>0</td><td class="model">60.00</td>', text)


def test_what_is_not_known_has_a_dash_and_no_bar():
    metrics = {"recall_at_1/changes_1": None, "recall_at_1/changes_2": 0.5, "sum/recall_at_1/changes_2": 0.25}
    intervals = {"recall_at_1/changes_2": [0.4, None]}
    sections, numbers = number_sections(make_result(metrics=metrics, intervals=intervals), {"changes_2": 1200}, {})
    assert [section.anchor for section in sections] == ["metrics", "changes"] and numbers["metrics"] is None
    (aspect,) = numbers["aspects"]["changes"]
    assert aspect["rows"] == [
        ("1 change", ["0", ("–", ""), ("", "")]),
        ("2 changes", ["1,200", ("50.00", ""), ("25.00", "")]),
    ]
    assert [(label, [bar.percent for bar in bars]) for label, bars in aspect["bars"]] == [
        ("1 change", [None]),
        ("2 changes", [50.0, 25.0]),
    ]
    assert aspect["bars"][1][1][0].interval is None


def test_number_and_kind_of_the_changes_have_tables_of_their_own(tmp_path, image_paths):
    metrics = {"recall_at_1": 0.5, "recall_at_1/changes_2": 0.5, "recall_at_1/changed_colour": 0.25}
    queries = [replace(make_query(0), aspects=("changes_2", "changed_colour", "changed_place"))]
    result = make_result(metrics=metrics, intervals={"recall_at_1/changed_colour": [0.125, 0.5]})
    path = write_report(tmp_path, result, [make_ranking(0, IMAGE_IDS, 2)], queries, image_paths)
    text = path.read_text(encoding="utf-8")
    assert '<a href="#kinds">Recall by kind of change</a>' in text
    assert "A query with changes of several kinds counts in each." in text
    kinds = text[text.index('<h2 id="kinds">') :]
    assert re.search(r'<th scope="row">colour</th><td>1</td><td class="model">25.00<small>\[12.5, 50.0\]', kinds)
    assert "2 changes</th>" in text[: text.index('<h2 id="kinds">')] and "2 changes</th>" not in kinds
    assert "<span>colour</span>" in text and "<span>place</span>" in text


def test_circos_aspects_are_one_table():
    metrics = {"map_at_10/negation": 0.5, "map_at_10/cardinality": 0.25}
    sections, numbers = number_sections(make_result(metrics=metrics, intervals={}), {"negation": 3}, {})
    assert [(section.anchor, section.heading) for section in sections[1:]] == [("aspects", "By aspect")]
    (table,) = numbers["aspects"]["aspects"]
    assert [name for name, _ in table["rows"]] == ["cardinality", "negation"]


def test_the_audit_of_composition_has_a_table_of_its_own(tmp_path, image_paths):
    metrics = {"recall_at_1": 0.5, "shortcut_text_at_10": 0.25, "composition_gap": 0.3125}
    metrics |= {"recall_at_1/shortcut_text": 0.75, "recall_at_1/shortcut_free": 0.125}
    about = {"recall_at_1": {"unit": "fraction", "better": "higher"}}
    about |= {"shortcut_text_at_10": {"unit": "fraction", "better": None}}
    about |= {"composition_gap": {"unit": "score", "better": None}}
    counts = {"shortcut_text": 1200, "shortcut_free": 3}
    result = make_result(metrics=metrics, about=about, intervals={}, aspect_queries=counts)
    path = write_report(tmp_path, result, [make_ranking(0, IMAGE_IDS, 2)], [make_query(0)], image_paths)
    text = path.read_text(encoding="utf-8")
    assert re.search(r'<th scope="row">composition_gap</th>\s*<td class="model">0.3125</td>', text)
    audit = text[text.index('<h2 id="composition">Does the model compose?</h2>') :]
    assert re.search(r'<th scope="row">the text alone</th><td>1,200</td><td class="model">75.00</td>', audit)
    assert re.search(r'<th scope="row">neither</th><td>3</td><td class="model">12.50</td>', audit)
