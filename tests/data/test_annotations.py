from __future__ import annotations

import os
import unicodedata

import pytest

from diptych.contracts.retrieval import Query
from diptych.data.annotations import (
    Record,
    first_repeated,
    load_json,
    load_json_lines,
    load_records,
    resolve_inside,
    safe_relative,
    unique_queries,
)
from diptych.storage.presence import require_folder

PAGE = "docs/x.md"


def test_json_error_names_file_line_and_column(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"a": 1},\n {"a": }]')
    with pytest.raises(ValueError, match=r"a\.json:2: not JSON .*column 8"):
        load_json(path, PAGE)


def test_json_lines_error_names_the_line_of_the_file(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2\n')
    with pytest.raises(ValueError, match=r"a\.jsonl:3: not JSON .*column \d+"):
        load_json_lines(path, PAGE)
    path.write_text('{"a": 1}\n\n{"b": "line\u2028separator"}\n')
    assert [record.where for record in load_json_lines(path, PAGE)] == [f"{path}:1", f"{path}:3"]


def test_byte_order_mark_is_accepted_and_other_encodings_are_named(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf[{"a": 1}]')
    assert load_records(path, PAGE)[0].integer("a") == 1
    path.write_bytes('[{"a": "é"}]'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"a\.json:1: not JSON \(not UTF-8 text"):
        load_json(path, PAGE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "expected a JSON list of records, found an object"),
        ("[]", "no records in it"),
        ("[1]", r"record 0: expected an object with keys, found an integer"),
        ("[null]", r"record 0: expected an object with keys, found null"),
        ("[" * 100_000, "nested more than 100 times"),
    ],
)
def test_wrong_shape_is_refused(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        load_records(path, PAGE)


def test_absent_file_names_the_page(tmp_path):
    with pytest.raises(ValueError, match=r"none\.json is not there; docs/x\.md"):
        load_json(tmp_path / "none.json", PAGE)
    with pytest.raises(ValueError, match="cannot be read"):
        load_json(tmp_path, PAGE)


def test_missing_key_names_file_record_id_and_key(tmp_path):
    path = tmp_path / "cap.json"
    path.write_text('[{"pairid": 12060, "caption": "x"}]')
    (record,) = load_records(path, PAGE, identified_by="pairid")
    with pytest.raises(
        ValueError, match=r"cap\.json, record 0 \(pairid 12060\): key 'reference' is missing; expected a string"
    ):
        record.text("reference")


@pytest.mark.parametrize(
    ("method", "value", "message"),
    [
        ("text", 3, "must be a string, found an integer: 3"),
        ("text", None, "is missing; expected a string"),
        ("name", " ", "is blank"),
        ("integer", True, "must be an integer, found a boolean"),
        ("integer", 1.0, "must be an integer, found a number"),
        ("texts", "a", "must be a list of strings, found a string"),
        ("texts", ["a", 1], "must be a list of strings, but holds an integer: 1"),
        ("names", ["a", "b", "a"], "holds 'a' twice"),
        ("names", [""], "holds a blank name"),
        ("integers", [1, True], "must be a list of integers, but holds a boolean"),
        ("integers", [1, 1], "holds 1 twice"),
        ("wordings", 1, "must be a list of strings, found an integer"),
        ("wordings", ["a", None], "but holds null"),
        ("record", [], "must be an object, found a list"),
    ],
)
def test_wrong_value_names_key_and_value(method, value, message):
    with pytest.raises(ValueError, match=f"here: key 'k' .*{message}"):
        getattr(Record("here", {"k": value}), method)("k")


def test_wordings_are_a_tuple_without_blanks():
    assert Record("here", {"k": "a"}).wordings("k") == ("a",)
    assert Record("here", {"k": ["a", " ", "b"]}).wordings("k") == ("a", "b")
    assert Record("here", {"k": None}).wordings("k") == Record("here", {"k": []}).wordings("k") == ()
    with pytest.raises(ValueError, match="key 'k' is missing"):
        Record("here", {}).wordings("k")


@pytest.mark.parametrize(
    "relative", ["", "../a.png", "a/../../b", "..", "/etc/passwd", "C:/a.png", "c:a", "a\\b", "..\\a", "a\0b"]
)
def test_unsafe_paths_are_refused(tmp_path, relative):
    with pytest.raises(ValueError, match="is refused"):
        resolve_inside(tmp_path, relative)


def test_safe_paths_are_kept(tmp_path):
    for relative in ("a.png", "a/b/c.png", "a..b/..c", "with blank.png", "é.png"):
        assert safe_relative(relative) == relative
        assert resolve_inside(tmp_path, relative) == tmp_path / relative


def test_links_out_of_the_folder_are_refused(tmp_path):
    data, outside = tmp_path / "data", tmp_path / "outside"
    (data / "real").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret.png").write_bytes(b"x")
    (data / "real" / "in.png").write_bytes(b"x")
    (data / "file.png").symlink_to(outside / "secret.png")
    (data / "folder").symlink_to(outside)
    (data / "alias.png").symlink_to(data / "real" / "in.png")
    for relative in ("file.png", "folder/secret.png", "folder/none.png"):
        with pytest.raises(ValueError, match="a link leads outside"):
            resolve_inside(data, relative)
    assert resolve_inside(data, "alias.png").read_bytes() == b"x"


def test_the_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    assert resolve_inside(tmp_path / "data", "a.png") == tmp_path / "data" / "a.png"


def test_a_folder_whose_name_starts_alike_is_outside(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data2").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "data2")
    with pytest.raises(ValueError, match="a link leads outside"):
        resolve_inside(tmp_path / "data", "link/a.png")


def test_absent_folder_names_folder_page_and_the_experiment_without_data(tmp_path):
    with pytest.raises(ValueError, match="No Set data: looked in") as caught:
        require_folder(tmp_path / "none", "Set", PAGE)
    for part in (str(tmp_path / "none"), "does not exist", PAGE, "data.root=PATH", "experiment=cir_rooms"):
        assert part in str(caught.value)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file, not a folder"):
        require_folder(tmp_path / "file", "Set", PAGE)
    assert require_folder(tmp_path, "Set", PAGE) == tmp_path


def test_repeated_query_id_is_named(tmp_path):
    queries = [Query("7", "a", "x"), Query("8", "a", "x"), Query("7", "b", "y")]
    with pytest.raises(ValueError, match="query id '7' occurs twice"):
        unique_queries(queries, tmp_path)
    assert first_repeated([1, 2, 3]) is None


@pytest.mark.parametrize(("written", "there"), [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("relative", ["café.jpg", "fotos d'été/Ångström/é.jpg", "각.png"])
def test_a_file_that_is_there_in_another_unicode_form_is_meant(tmp_path, relative, written, there):
    path = tmp_path / unicodedata.normalize(there, relative)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    assert resolve_inside(tmp_path, unicodedata.normalize(written, relative)) == path


def test_a_file_in_other_capitals_is_another_one(tmp_path):
    (tmp_path / "A.JPG").touch()
    assert resolve_inside(tmp_path, "a.jpg") == tmp_path / "a.jpg"


def test_of_two_files_of_one_name_the_composed_one_is_meant(tmp_path):
    for form in ("NFC", "NFD"):
        (tmp_path / unicodedata.normalize(form, "é.jpg")).write_text(form)
    for form in ("NFC", "NFD"):
        assert resolve_inside(tmp_path, unicodedata.normalize(form, "é.jpg")).read_text() == "NFC"


@pytest.mark.hostile("hostile files")
def test_a_twin_that_is_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / unicodedata.normalize("NFD", "é.jpg")).symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match="a link leads outside"):
        resolve_inside(tmp_path / "data", unicodedata.normalize("NFC", "é.jpg"))


@pytest.mark.hostile("hostile files")
def test_a_name_too_long_for_any_file_is_only_missing(tmp_path):
    assert not resolve_inside(tmp_path, "é" * 5000).parent.joinpath("x").exists()


def test_folders_are_listed_once_for_all_that_is_missing(tmp_path, monkeypatch):
    times = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: times.append(folder) or listdir(folder))
    (tmp_path / "there.jpg").touch()
    for number in range(50):
        resolve_inside(tmp_path, f"{number}.jpg")
        resolve_inside(tmp_path, "there.jpg")
    assert len(times) == 1
