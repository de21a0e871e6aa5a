"""EVENTA's ZIP: what is written keeps the challenge's rules, and every broken rule is found with its line."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import struct
import tracemalloc
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from diptych.data.news.openevents import OpenEvents
from diptych.submission.__main__ import main
from diptych.submission.eventa import COLUMNS, check_eventa, write_eventa

ASSETS = Path(__file__).parents[1] / "assets"
QUERIES = ("00000000000000c1", "2222222222222222", "12e4567890123457")
ARTICLES = ("0000000000000012", "12e4567890123456", "abcdef0123456789")
CAPTIONS = {
    QUERIES[0]: 'A man says "run",\nand runs.\r\n\n It is 2021.\u2028',
    QUERIES[1]: "Café, 新聞 😀\x00",
    QUERIES[2]: "#",
}
RETRIEVED = {QUERIES[0]: ARTICLES, QUERIES[1]: (), QUERIES[2]: ARTICLES[:1], "another": ()}


@pytest.fixture
def source(tmp_path):
    return OpenEvents(shutil.copytree(ASSETS / "openevents", tmp_path / "openevents"))


def written(folder, captions=CAPTIONS, articles=RETRIEVED, query_ids=QUERIES):
    return write_eventa(folder, captions, articles, query_ids)


def text_of(path):
    with zipfile.ZipFile(path) as archive:
        return archive.read("submission.csv").decode()


def zipped(path, content, name="submission.csv"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, content)
    return path


def test_the_file_is_what_the_challenge_asks_for(source, tmp_path):
    path = written(tmp_path / "out")
    assert [file.name for file in path.parent.iterdir()] == ["submission.zip"]
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["submission.csv"]
    nines, sevens = ",#" * 10, ",#" * 7
    assert text_of(path).split("\n") == [
        "query_id,article_id_1,article_id_2,article_id_3,article_id_4,article_id_5,article_id_6,article_id_7,"
        "article_id_8,article_id_9,article_id_10,generated_caption",
        f'{QUERIES[0]},{",".join(ARTICLES)}{sevens},"A man says ""run"", and runs. It is 2021."',
        f'{QUERIES[1]}{nines},"Café, 新聞 😀"',
        f'{QUERIES[2]},{ARTICLES[0]}{",#" * 9},"#"',
        "",
    ]
    assert tuple(next(csv.reader(io.StringIO(text_of(path))))) == COLUMNS and len(COLUMNS) == 12
    verdict = check_eventa(path, source, "test")
    assert (verdict.violations, verdict.unchecked) == ((), ())


def test_the_same_captions_give_the_same_bytes(tmp_path):
    one, other = written(tmp_path / "one"), written(tmp_path / "other", dict(reversed(CAPTIONS.items())))
    assert one.read_bytes() == other.read_bytes()


def test_only_the_first_ten_articles_are_written(tmp_path):
    many = {query: [f"{number:016x}" for number in range(30)] for query in QUERIES}
    row = text_of(written(tmp_path, articles=many)).split("\n")[1].split(",")
    assert row[1:11] == [f"{number:016x}" for number in range(10)] and row[11] == '"A man says ""run""'


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"captions": {**CAPTIONS, QUERIES[1]: " \n"}}, f"query {QUERIES[1]}: the caption is empty"),
        ({"captions": {**CAPTIONS, QUERIES[1]: "é" * 8001}}, f"query {QUERIES[1]}: the caption has 8,001 characters"),
        ({"captions": {**CAPTIONS, QUERIES[1]: "\ud83d"}}, f"query {QUERIES[1]}: the caption cannot be written"),
        ({"captions": {QUERIES[0]: "x"}}, f"query {QUERIES[1]}: has no caption"),
        ({"captions": {**CAPTIONS, "7": "x"}}, "query 7: has a caption, but is not on the official list"),
        ({"query_ids": (*QUERIES, QUERIES[0])}, f"query {QUERIES[0]}: is listed twice"),
        ({"articles": {QUERIES[0]: ()}}, f"query {QUERIES[1]}: no articles were retrieved for it"),
        ({"articles": {**RETRIEVED, QUERIES[2]: ("a", "b", "a")}}, f"query {QUERIES[2]}: article 'a' comes twice"),
        ({"articles": {**RETRIEVED, QUERIES[2]: ("#",)}}, f"query {QUERIES[2]}: '#' is not an article id"),
        ({"articles": {**RETRIEVED, QUERIES[2]: ("a,b",)}}, "'a,b' is not an article id"),
        ({"articles": {**RETRIEVED, QUERIES[2]: ("",)}}, "'' is not an article id"),
    ],
)
def test_what_the_challenge_would_refuse_is_not_written(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        written(tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_exactly_8000_characters_pass(source, tmp_path):
    path = written(tmp_path, {**CAPTIONS, QUERIES[1]: '"' * 8000})
    assert check_eventa(path, source, "test").violations == ()


def faults_of(source, tmp_path, change):
    content = change(text_of(written(tmp_path)))
    return check_eventa(zipped(tmp_path / "changed.zip", content), source, "test").violations


@pytest.mark.parametrize(
    ("old", "new", "violation"),
    [
        ("query_id,", "id,", "line 1: the header must be query_id,article_id_1,"),
        ("caption\n", "caption\n\n", "line 2: a blank line; the server takes none"),
        ('"#"', "#", f"line 4, query {QUERIES[2]}: the caption must stand in double quotes"),
        ('"#"', '""', f"line 4, query {QUERIES[2]}: the caption is empty"),
        ('"#"', f'"{"x" * 8001}"', f"line 4, query {QUERIES[2]}: the caption has 8,001 characters"),
        ('"#"', '"a\n\nb"', f"line 4, query {QUERIES[2]}: the caption holds a line break; write a blank instead"),
        ("Café, ", '"Café", ', f"line 3, query {QUERIES[1]}: not valid CSV"),
        (f"{QUERIES[1]},#", f"{QUERIES[1]},", f"line 3, query {QUERIES[1]}: article_id_1 is empty; write #"),
        (f"{QUERIES[1]},#", f"{QUERIES[1]}", f"line 3, query {QUERIES[1]}: 11 columns instead of 12"),
        (f"{ARTICLES[1]},", f"{ARTICLES[0]},", f"line 2, query {QUERIES[0]}: article_id_2 {ARTICLES[0]} comes twice"),
        (ARTICLES[1], "12e4", f"line 2, query {QUERIES[0]}: article_id_2 '12e4' is not in the database"),
    ],
)
def test_each_broken_rule_has_its_own_message(source, tmp_path, old, new, violation):
    (found,) = faults_of(source, tmp_path, lambda text: text.replace(old, new, 1))
    assert found.startswith(violation)


def test_rows_that_are_missing_twice_or_unknown(source, tmp_path):
    assert faults_of(source, tmp_path, lambda text: text.replace(QUERIES[1], QUERIES[0])) == (
        f"line 3, query {QUERIES[0]}: the query is on line 2 already",
        f"query {QUERIES[1]}: missing from the file",
    )
    assert faults_of(source, tmp_path, lambda text: text.replace(QUERIES[1], "7")) == (
        "line 3, query 7: no query of the split has this id",
        f"query {QUERIES[1]}: missing from the file",
    )


def test_a_quote_that_is_not_closed_does_not_swallow_the_rest(source, tmp_path):
    def change(text):
        return text.replace('2021."', "2021.").replace('"#"', "#")

    first, second = faults_of(source, tmp_path, change)
    assert first.startswith(f"line 2, query {QUERIES[0]}: not valid CSV")
    assert second.startswith(f"line 4, query {QUERIES[2]}: the caption must stand in double quotes")


def test_what_harms_nothing_passes(source, tmp_path):
    for change in (
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.removesuffix("\n"),
        lambda text: text.replace(QUERIES[0], f'"{QUERIES[0]}"').replace("query_id,", '"query_id",'),
        lambda text: "\n".join([text.split("\n")[0], *reversed(text.split("\n")[1:-1])]),
    ):
        assert faults_of(source, tmp_path, change) == ()


def test_the_archive_itself_is_looked_at(source, tmp_path):
    text = text_of(written(tmp_path))
    path = zipped(tmp_path / "more.zip", "\ufeff" + text)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/._submission.csv", "")
    assert check_eventa(path, source, "test").violations == (
        "__MACOSX/._submission.csv: the ZIP file must hold nothing but submission.csv",
        "line 1: begins with a byte order mark; write UTF-8 without it",
    )
    for path, message in (
        (zipped(tmp_path / "folder.zip", text, "out/submission.csv"), r"holds out/submission\.csv; it must hold"),
        (
            zipped(tmp_path / "latin.zip", text.replace("é", "e\n\udce9").encode("utf-8", "surrogateescape")),
            "line 4 of",
        ),
        (tmp_path / "none.zip", "cannot be read"),
    ):
        with pytest.raises(ValueError, match=message):
            check_eventa(path, source, "test")
    (tmp_path / "cut.zip").write_bytes(written(tmp_path).read_bytes()[:60])
    with pytest.raises(ValueError, match="is not a whole ZIP file"):
        check_eventa(tmp_path / "cut.zip", source, "test")


@contextmanager
def measured_memory():
    """Gives a function for the most bytes that Python held within the block."""
    tracemalloc.start()
    try:
        yield lambda: found
    finally:
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


def bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("submission.csv", "w") as member:
        for _ in range(300):
            member.write(bytes(2**20))
    return path


def lying(path):
    """The same, but it promises a few bytes."""
    data = bomb(path).read_bytes()
    size = struct.pack("<I", 300 * 2**20)
    assert data.count(size) == 2
    path.write_bytes(data.replace(size, struct.pack("<I", 100)))
    return path


def damaged(path, method):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("submission.csv", os.urandom(3000))
    data = bytearray(path.read_bytes())
    data[60:2000] = b"\xaa" * 1940
    path.write_bytes(data)
    return path


def piped(path):
    os.mkfifo(path)
    return path


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (bomb, r"submission\.csv unpacks to more than 256 MiB"),
        (lying, "is not a whole ZIP file"),
        (lambda path: damaged(path, zipfile.ZIP_LZMA), "is not a whole ZIP file"),
        (lambda path: damaged(path, zipfile.ZIP_DEFLATED), "is not a whole ZIP file"),
        (lambda path: damaged(path, zipfile.ZIP_BZIP2), "is not a whole ZIP file|cannot be read"),
        (lambda path: damaged(path, zipfile.ZIP_STORED), "is not a whole ZIP file"),
        (piped, "is no file; name the ZIP"),
    ],
)
def test_an_archive_that_is_none_is_refused_with_its_name(source, tmp_path, make, message):
    path = make(tmp_path / "a.zip")
    with measured_memory() as peak, pytest.raises(ValueError, match=rf"a\.zip.*({message})"):
        check_eventa(path, source, "test")
    assert peak() < 20 * 2**20


@pytest.mark.hostile("hostile files")
def test_two_tables_of_one_name_are_told(source, tmp_path):
    path = zipped(tmp_path / "a.zip", text_of(written(tmp_path / "out")))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("submission.csv", text_of(written(tmp_path / "out")))
    (violation,) = check_eventa(path, source, "test").violations
    assert "in the ZIP file 2 times" in violation


def test_without_the_database_the_rule_is_named_as_not_checked(source, tmp_path):
    (source.root / "Database/database.json").unlink()
    verdict = check_eventa(written(tmp_path, articles=dict.fromkeys(QUERIES, ("unknown-id",))), source, "test")
    assert verdict.violations == ()
    assert "not checked: whether the articles are in the database" in verdict.unchecked[0]


def test_command_line_writes_and_checks(source, tmp_path, capsys):
    predictions, retrieval = tmp_path / "predictions.jsonl", tmp_path / "retrieval.json"
    lines = [json.dumps({"query_id": query_id, "caption": caption}) for query_id, caption in CAPTIONS.items()]
    predictions.write_text("\n".join(lines))
    results = [
        {"image_id": str(rank), "article_id": article_id, "score": -rank}
        for rank, article_id in enumerate((ARTICLES[0], "#", ARTICLES[0], ARTICLES[1]))
    ]
    retrieval.write_text(json.dumps([{"query_id": query_id, "results": results} for query_id in QUERIES]))
    where = [f"root={source.root}", "data=openevents"]
    words = ["write", f"predictions={predictions}", f"retrieval={retrieval}", *where, f"output={tmp_path / 'out'}"]
    assert main(words) == 0
    assert "submission.zip: keeps every rule that was checked" in capsys.readouterr().out
    path = tmp_path / "out/submission.zip"
    assert text_of(path).split("\n")[2] == f'{QUERIES[1]},{ARTICLES[0]},{ARTICLES[1]}{",#" * 8},"Café, 新聞 😀"'
    assert main(["check", str(path), *where]) == 0
    assert main(["check", str(path), *where, "test_set=private"]) == 1
    printed = capsys.readouterr().out
    assert "query 00000000000000d1: missing from the file" in printed and "4 violations" in printed
    for wrong, message in (
        (words[:1] + words[2:], "predictions=... is missing"),
        ([*words, "colour=red"], "unknown key 'colour'"),
        ([*words[:-2], "data=cirr", words[-1]], r"evaluate.py ... split=test writes the files of data=cirr"),
        (["check", str(path), "data=circo", "test_set=private"], "data=circo has one"),
        ([*words, "split=none"], "no split 'none'"),
    ):
        assert main(wrong) == 2
        assert message in capsys.readouterr().err
