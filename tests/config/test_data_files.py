"""`data=FILE`: a table of triplets in the place of a dataset's name."""

from __future__ import annotations

import pytest

from diptych.config.command_line import composed
from diptych.config.data_files import with_data_files


@pytest.mark.parametrize("name", ["shop.csv", "shop.tsv", "shop.jsonl", "a folder/dataset.json"])
def test_a_file_is_the_table_of_its_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for word in (f"data={name}", f"data='{name}'", f"data='{tmp_path / name}'"):
        config = composed("train", ["experiment=cir_rooms", word])
        assert config.data.sources.own_data.table == name.rpartition("/")[2]
        assert config.data.sources.own_data.root == str((tmp_path / name).parent)


@pytest.mark.parametrize("word", ["data=a.csv,b.csv", "data=[rooms,a.csv]"])
def test_several_are_refused(word):
    with pytest.raises(ValueError, match="of files one at a time can be named"):
        with_data_files([word])


def test_a_comma_in_a_name_and_capitals():
    assert with_data_files(["data='a,b.CSV'"])[2] == "data.sources.own_data.table='a,b.CSV'"


@pytest.mark.parametrize("word", ["data=cirr", "data=[a,b]", "predictions=a.csv", "data.root=a.csv", "~data"])
def test_other_words_stay(word):
    assert with_data_files([word]) == [word]


def test_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert with_data_files(["data=~/shop.csv"])[1:] == ["data.root=/home/me", "data.sources.own_data.table=shop.csv"]


TRIPLETS, CAPTIONS = "own_data", "own_captions"


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.csv", "reference,text,target\n", TRIPLETS),
        ("a.tsv", "photo\tarticle_file\tcaption\n", CAPTIONS),
        ("a.csv", "\ufeffimage,caption,article\n", CAPTIONS),
        ("a.csv", "reference,text,target,article\n", TRIPLETS),  # further columns are left alone
        ("a.csv", "photo,article,caption,text\n", CAPTIONS),
        ("a.csv", "refrence,text\n", TRIPLETS),  # whose reader says what is misspelt
        ("a.csv", "caption\n", CAPTIONS),
        ("a.csv", "photo;article\n", TRIPLETS),  # either reader says that these are no commas
        ("a.jsonl", '\n{"photo": "a.jpg", "article": "A."}\n', CAPTIONS),
        ("a.jsonl", '{"query_id": 1, "reference_image": "a.jpg", "modification_texts": []}\n', TRIPLETS),
        ("a.json", "[]", TRIPLETS),
        ("a.csv", "", TRIPLETS),
    ],
)
def test_its_columns_say_what_a_table_is(tmp_path, name, text, kind):
    (tmp_path / name).write_text(text, encoding="utf-8")
    choice, root, table = with_data_files([f"data={tmp_path / name}"])
    assert (choice, root) == (f"data={kind}", f"data.root={tmp_path}")
    assert table == f"data.sources.{kind}.table={name}"


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("reference,text,photo,article", "both triplets and captions: article, photo, reference, text"),
        ("target,caption", "both triplets and captions"),
        ("a,b", "neither triplets nor captions: a, b; reference and text are of triplets and photo and article are of"),
    ],
)
def test_columns_of_both_kinds_or_of_none_are_refused(tmp_path, header, said):
    (tmp_path / "a.csv").write_text(header + "\n")
    with pytest.raises(ValueError, match=f"a.csv: its columns say {said}"):
        with_data_files([f"data={tmp_path / 'a.csv'}"])


@pytest.mark.parametrize("name", ["shop.parquet", "shop/", "./shop"])
def test_what_holds_pictures_is_to_be_imported_first(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop").mkdir()
    stem = name.strip("./").partition(".")[0]
    with pytest.raises(
        ValueError, match=rf"diptych import dataset={stem}\S* out={stem}\.jsonl, and name data={stem}.jsonl"
    ):
        with_data_files([f"data={name}"])
