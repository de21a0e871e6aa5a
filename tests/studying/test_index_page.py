"""The page about all studies."""

import re
from dataclasses import replace

from made_study import make_result

from diptych.studying.index_page import FILE, StudyRow, study_row, write_index
from page_parts import HOSTILE, Parts


def rows(folder, text=""):
    result = make_result(text=text)
    verdicts = [replace(one, sentence=one.sentence + text) for one in result.verdicts]
    ran = study_row(
        replace(result, verdicts=verdicts), folder / f"a study{text.replace('/', '')}" / "study.html", folder
    )
    return [ran, StudyRow(f"cirr{text}", f"Which mix?{text}", "full", problem=f"see docs/cirr.md{text}")]


def test_a_row_a_study_with_its_verdicts_and_a_link(tmp_path):
    text = write_index(tmp_path, rows(tmp_path)).read_text()
    assert (tmp_path / FILE).is_file()
    assert "2 studies, 4 hypotheses: 2 supported, 0 refuted, 2 undecided" in text
    assert '<a href="a%20study/study.html">permutations</a>' in text and text.count("<a ") == 1
    assert text.count("<svg") == 3, "no picture of an arm that failed"
    assert re.search(r'<td colspan="2">see docs/cirr.md</td>', text)
    assert "<script" not in text and "script-src 'none'" in text


def test_a_difference_is_drawn_to_scale(tmp_path):
    """+37.5 points within [12.5, 62.5], least 5: the middle is 90, and the furthest end 84 from it."""
    text = write_index(tmp_path, rows(tmp_path)).read_text()
    line = re.search(r'<line class="supported" x1="([\d.]+)" y1="9" x2="([\d.]+)"', text)
    assert line.groups() == ("106.8", "174.0")
    assert re.search(r'<circle class="supported" cx="140.4"', text)
    assert '<rect class="band" x="83.3" y="2" width="13.4"' in text


def test_no_text_of_a_study_becomes_a_part_of_the_index(tmp_path):
    plain = Parts(write_index(tmp_path, rows(tmp_path, " words")).read_text())
    for text in HOSTILE:
        parts = Parts(write_index(tmp_path, rows(tmp_path, text)).read_text())
        assert parts.tags == plain.tags and not parts.scripts, text
        assert sum(text in words for words in parts.texts) >= 5, text
