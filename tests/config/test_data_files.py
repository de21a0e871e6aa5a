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
