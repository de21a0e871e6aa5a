import json

import pytest

from diptych.storage.record_log import RecordLog, claim, merge_rank_files, rank_files, read_logs

RECORDS = [{"query_id": name, "caption": f"Über {name}\n\u2028"} for name in "abc"]


@pytest.fixture
def log(tmp_path) -> RecordLog:
    return RecordLog(tmp_path / "made" / "predictions.jsonl")


def test_records_come_back_as_they_were(log):
    assert log.read() == {}
    log.append(RECORDS[:2])
    log.append(RECORDS[2:])
    assert list(log.read().values()) == RECORDS
    log.write(RECORDS[::-1])
    assert list(log.read().values()) == RECORDS[::-1]
    assert {path.name for path in log.path.parent.iterdir()} == {"predictions.jsonl", ".predictions.jsonl.crc"}


@pytest.mark.parametrize("lost", range(1, 25))
def test_half_a_line_is_dropped_and_cut_off(log, lost):
    log.append(RECORDS)
    content = log.path.read_bytes()
    log.path.write_bytes(content[:-lost])
    again = RecordLog(log.path)
    assert list(again.read()) == ["a", "b"]
    again.append(RECORDS[2:])
    assert log.path.read_bytes() == content


def test_a_broken_line_is_named(log):
    log.append(RECORDS)
    lines = log.path.read_text(encoding="utf-8").split("\n")
    for line, problem in (("{", ":2: not JSON"), ("[1]", ":2: expected an object"), (lines[0], ":2: query_id 'a' occ")):
        log.path.write_text("\n".join([lines[0], line, *lines[2:]]), encoding="utf-8")
        with pytest.raises(ValueError, match=problem):
            log.read()


def test_records_may_be_named_by_another_key(tmp_path):
    log = RecordLog(tmp_path / "stage.jsonl", key="image_id")
    log.append([{"image_id": "7", "objects": []}])
    assert log.read() == {"7": {"image_id": "7", "objects": []}}


def test_rank_files_are_merged_in_order(log):
    for number, record in enumerate(RECORDS):
        RecordLog(log.path.with_suffix(f".rank{number}.jsonl")).append([record])
    with pytest.raises(ValueError, match="1 of 4 records are missing: d"):
        merge_rank_files(log.path, ["a", "b", "c", "d"])
    assert len(rank_files(log.path)) == 3
    merge_rank_files(log.path, ["c", "a", "b"])
    assert list(log.read()) == ["c", "a", "b"]
    assert rank_files(log.path) == []
    with pytest.raises(ValueError, match="about 'c', which is not asked for"):
        read_logs([log.path], ["a", "b"])


def test_other_settings_are_refused(tmp_path):
    path, records = tmp_path / "predictions.settings.json", tmp_path / "predictions.jsonl"
    made_with = {"settings": {"temperature": 1.0, "stop": (1, 2)}, "model": "x"}
    claim(path, made_with, [])
    claim(path, made_with, [records])
    assert json.loads(path.read_text())["model"] == "x"
    assert claim(path, made_with, [records], {"room": 3}) == {"room": 3}  # of a version that kept nothing
    other = tmp_path / "kept.settings.json"
    assert claim(other, made_with, [], {"room": 3}) == {"room": 3}
    assert claim(other, made_with, [records], {"room": 5}) == {"room": 3}
    with pytest.raises(ValueError, match=r"settings.temperature \(was 1.0, is 0.7\).*delete .*predictions.jsonl"):
        claim(path, {**made_with, "settings": {"temperature": 0.7, "stop": (1, 2)}}, [records])
    path.write_text("{")
    with pytest.raises(ValueError, match=r"settings\.json:1: not JSON .*delete"):
        claim(path, made_with, [records])
    path.unlink()
    with pytest.raises(ValueError, match="which says what they were made with, is gone"):
        claim(path, made_with, [records])
