"""Triplets of a table: its columns, and the splits of triplets that name none."""

from __future__ import annotations

import logging
import random

import pytest

from diptych.contracts.retrieval import Query, Triplet
from diptych.data.triplets.triplet_jsonl import TripletJSONL
from diptych.data.triplets.triplet_table import drawn_splits, table_records


def written(tmp_path, text, name="triplets.csv") -> TripletJSONL:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return TripletJSONL(tmp_path, table=name)


def test_usual_names_of_columns_and_the_table_s_splits(tmp_path):
    source = written(
        tmp_path,
        "reference,text,target,split,group,target_id\n"  # further columns are left alone
        'a.jpg,"taller, and red",b.jpg,train,lamps,12\n'
        "b.jpg,smaller,c.jpg,val,,13\n"
        "./c.jpg,greener,d.jpg,train,,\n",
    )
    first, second = source.triplets("train")
    assert first == Triplet("row-1", "a.jpg", ("taller, and red",), "b.jpg", (), "lamps")
    assert (second.query_id, second.reference_image) == ("row-3", "c.jpg")
    assert [query.query_id for query in source.queries("val")] == ["row-2"]
    assert {image.image_id for image in source.gallery("val")} == {"a.jpg", "b.jpg", "c.jpg", "d.jpg"}
    assert source.protocol("val").gallery == "all images that triplets.csv names"
    with pytest.raises(ValueError, match=r"triplets.csv: no record is of the split 'test'; there are train, val"):
        source.queries("test")


def test_long_names_tabs_and_ids(tmp_path):
    text = "query_id\treference_image\tmodification_text\ttarget_image\tsplit\n007\ta.jpg\t1,5 m\tb.jpg\ttest\n"
    (query,) = written(tmp_path, text, "t.tsv").queries("test")
    assert (query.query_id, query.text, query.target_image) == ("007", "1,5 m", "b.jpg")


def test_hidden_answers(tmp_path):
    source = written(tmp_path, "reference,text,split\na.jpg,taller,test\n")
    assert source.protocol("test").answers_hidden
    both = written(tmp_path, "reference,text,target,split\na.jpg,taller,,test\nb.jpg,redder,a.jpg,test\n")
    with pytest.raises(ValueError, match="1 of 2 records have no 'target_image'"):
        both.queries("test")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "reference,target\na.jpg,b.jpg\n",
            "there is no column modification_text or modification_texts or text",
        ),
        ("reference,reference_image,text\na,b,c\n", "the columns reference_image and reference say the same"),
        ("refrence,text\na,b\n", "unknown column 'refrence'; did you mean 'reference'"),
        ("reference;text;target\na;b;c\n", "its columns are separated by ';'; save it with commas"),
        ("reference;text;target\na;red, and blue;c\n", "its columns are separated by ';'; save it with commas"),
        ("reference,text,split\na.jpg,red,dev\n", r"line 2: split 'dev' is not one of train, val, test"),
        ("reference,text,split\na.jpg,red,train\na.jpg,blue,\n", r"line 3: key 'split' is missing"),
        ("reference,text\n,red\n", r"line 2: key 'reference_image' is missing"),
        ("reference,text\nhttps://x.org/a.jpg,red\n", "images are read from disk only"),
        ("reference,text\n../a.jpg,red\n", r"line 2: key 'reference_image'"),
    ],
)
def test_mistakes_name_file_line_and_column(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        written(tmp_path, text).queries("train")


def test_one_file_or_a_file_for_each_split(tmp_path):
    with pytest.raises(ValueError, match="files= names a file for each split, table= one for all"):
        TripletJSONL(tmp_path, files={"train": "a.csv"}, table="b.csv")


def test_json_lines_and_tables_for_one_split(tmp_path):
    (tmp_path / "all.jsonl").write_text(
        '{"query_id": 1, "reference_image": "a.jpg", "modification_texts": "red", "target_image": "b.jpg",'
        ' "split": "val"}\n'
    )
    assert [query.query_id for query in TripletJSONL(tmp_path, table="all.jsonl").queries("val")] == ["1"]
    (tmp_path / "train.csv").write_text("reference,text,target\na.jpg,red,b.jpg\n")
    assert len(TripletJSONL(tmp_path, files={"train": "train.csv"}).triplets("train")) == 1


def pairs_of(edges, group=lambda place: ""):
    return [
        (
            Query(f"row-{place}", one, f"text {place}", other, (other,)),
            Triplet(f"row-{place}", one, (f"text {place}",), other, (), group(place)),
        )
        for place, (one, other) in enumerate(edges)
    ]


def pictures_by_split(pairs, splits):
    found = {}
    for (query, _), split in zip(pairs, splits, strict=True):
        found.setdefault(split, set()).update((query.reference_image, query.target_image))
    return found


def test_drawn_splits_share_no_picture_and_do_not_hang_on_the_order():
    draw = random.Random(0)
    edges = [(f"{series // 2}/a", f"{series // 2}/{draw.choice('bcd')}") for series in range(80)]
    pairs = pairs_of(edges)
    splits, apart = drawn_splits(pairs)
    pictures = pictures_by_split(pairs, splits)
    assert apart and set(pictures) == {"train", "val", "test"}
    assert not (pictures["train"] & pictures["val"] or pictures["train"] & pictures["test"])
    assert not pictures["val"] & pictures["test"]
    assert [splits.count(split) for split in ("train", "val", "test")] == [64, 8, 8]
    order = draw.sample(range(len(pairs)), len(pairs))
    shuffled, _ = drawn_splits([pairs[place] for place in order])
    by_pair = [set(), set()]
    for place, split in enumerate(splits):
        by_pair[0].add((edges[place], split))
    for place, split in zip(order, shuffled, strict=True):
        by_pair[1].add((edges[place], split))
    assert by_pair[0] == by_pair[1]


def test_groups_stay_together():
    pairs = pairs_of([(f"a{n}", f"b{n}") for n in range(30)], lambda place: f"series {place // 3}")
    splits, apart = drawn_splits(pairs)
    assert apart and all(len(set(splits[start : start + 3])) == 1 for start in range(0, 30, 3))


def test_triplets_that_all_hang_together_are_drawn_one_by_one_and_that_is_said(tmp_path, caplog):
    pairs = pairs_of([(f"a{n}", f"a{n + 1}") for n in range(30)])
    splits, apart = drawn_splits(pairs)
    assert not apart and [splits.count(split) for split in ("train", "val", "test")] == [24, 3, 3]
    rows = "".join(f"a{n}.jpg,redder,a{n + 1}.jpg\n" for n in range(30))
    with caplog.at_level(logging.INFO):
        assert len(written(tmp_path, f"reference,text,target\n{rows}").triplets("train")) == 24
    assert "drawn: test 3, train 24, val 3" in caplog.text and "pictures of val and test are trained on" in caplog.text


def test_rows_keep_their_lines(tmp_path):
    (tmp_path / "t.csv").write_text('reference,text\na.jpg,"two\nlines"\nb.jpg,\n')
    records = table_records(tmp_path / "t.csv", "docs/own_data.md")
    assert [record.where.rpartition(", ")[2] for record in records] == ["line 2", "line 4"]
