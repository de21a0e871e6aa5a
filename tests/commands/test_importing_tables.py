"""Tables with pictures in them become JSON lines and files: Parquet, and what datasets.save_to_disk leaves."""

from __future__ import annotations

import datetime
import io
import json

import pytest
from PIL import Image

from diptych.commands.importing_tables import import_table
from diptych.commands.main import run
from diptych.config.data_files import with_data_files
from diptych.data.news.own_captions import OwnCaptions
from diptych.data.triplets.triplet_jsonl import TripletJSONL

datasets = pytest.importorskip("datasets", reason="the extra `datasets` is not installed")


def picture(colour, form="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (6, 4), colour).save(file, form)
    return file.getvalue()


RED, GREEN, BLUE = picture("red"), picture("green", "JPEG"), picture("blue")


def packed(data):
    return {"bytes": data, "path": None}


def triplets(**changes):
    columns = {
        "reference": [packed(RED), packed(GREEN), packed(RED)],
        "text": ["greener", "bluer", "bluer"],
        "target": [packed(GREEN), packed(BLUE), packed(BLUE)],
        "shop_id": [1, 2, 3],
        **changes,
    }
    features = datasets.Features(
        {name: datasets.Image() if name in ("reference", "target") else datasets.Value("string") for name in columns}
    )
    return datasets.Dataset.from_dict(columns, features=features)


def read(out):
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_a_parquet_file_becomes_lines_and_pictures(tmp_path, caplog):
    triplets().to_parquet(tmp_path / "shop.parquet")
    assert run("import", [f"dataset={tmp_path / 'shop.parquet'}", f"out={tmp_path / 'shop.jsonl'}"]) == 0
    first, second, third = read(tmp_path / "shop.jsonl")
    assert first["query_id"] == "row-1" and first["modification_texts"] == "greener" and "split" not in first
    assert first["target_image"] == second["reference_image"] and third["target_image"] == second["target_image"]
    assert (tmp_path / first["reference_image"]).read_bytes() == RED
    assert first["target_image"].startswith("shop_images/") and first["target_image"].endswith(".jpg")
    assert len(list((tmp_path / "shop_images").iterdir())) == 3, "equal pictures are one"
    assert "columns that are left out: shop_id" in caplog.text
    assert with_data_files([f"data={tmp_path / 'shop.jsonl'}"])[0] == "data=own_data"
    source = TripletJSONL(tmp_path, table="shop.jsonl")
    assert {image.path.read_bytes() for image in source.gallery("train")} == {RED, GREEN, BLUE}


@pytest.mark.parametrize("form", ["save_to_disk", "shards", "folders"])
def test_splits_are_kept(tmp_path, form):
    folder, parts = tmp_path / "edits", {"train": triplets(), "validation": triplets(), "test": triplets()}
    if form == "save_to_disk":
        datasets.DatasetDict(parts).save_to_disk(folder)
    else:
        for split, part in parts.items():
            name = f"data/{split}-00000-of-00001" if form == "shards" else f"{split}/0000"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            part.to_parquet(folder / f"{name}.parquet")
    import_table(folder, tmp_path / "edits.jsonl")
    records = read(tmp_path / "edits.jsonl")
    assert sorted(record["split"] for record in records) == ["test"] * 3 + ["train"] * 3 + ["val"] * 3
    assert len({record["query_id"] for record in records}) == 9


@pytest.mark.parametrize("saved", [False, True])
def test_a_single_split_called_train_is_none(tmp_path, saved):
    if saved:
        datasets.DatasetDict({"train": triplets()}).save_to_disk(tmp_path / "a")
    else:
        (tmp_path / "a/data").mkdir(parents=True)
        triplets().to_parquet(tmp_path / "a/data/train-00000-of-00001.parquet")
    import_table(tmp_path / "a", tmp_path / "a.jsonl")
    assert not any("split" in record for record in read(tmp_path / "a.jsonl"))


def test_columns_of_other_names_and_lists_of_pictures(tmp_path):
    columns = {"before": [RED], "edit": [["greener", "as grass"]], "after": [GREEN], "distractors": [[BLUE, RED]]}
    datasets.Dataset.from_dict(columns).to_parquet(tmp_path / "a.parquet")
    names = ["before:reference", "edit:text", "after:target"]
    import_table(tmp_path / "a.parquet", tmp_path / "a.jsonl", names)
    (record,) = read(tmp_path / "a.jsonl")
    assert record["modification_texts"] == ["greener", "as grass"]
    assert record["distractors"][1] == record["reference_image"] != record["distractors"][0]


def test_paths_are_used_as_they_are(tmp_path):
    (tmp_path / "photos").mkdir()
    for name, data in (("a.png", RED), ("b.jpg", GREEN)):
        (tmp_path / "photos" / name).write_bytes(data)
    columns = {"reference": ["photos/a.png"], "text": ["greener"], "target": ["photos/b.jpg"]}
    datasets.Dataset.from_dict(columns).to_parquet(tmp_path / "a.parquet")
    import_table(tmp_path / "a.parquet", tmp_path / "a.jsonl")
    (record,) = read(tmp_path / "a.jsonl")
    assert (record["reference_image"], record["target_image"]) == ("photos/a.png", "photos/b.jpg")
    assert not (tmp_path / "a_images").exists()
    with pytest.raises(ValueError, match=r"row 1, column 'reference': the picture \S+ does not lie below"):
        import_table(tmp_path / "a.parquet", tmp_path / "other/a.jsonl")


def test_captions(tmp_path):
    columns = {
        "image": [RED, GREEN],
        "article": ["The bridge opened.", "Rain fell."],
        "caption": ["A bridge.", "A flood."],
        "date": [datetime.date(2022, 2, 27), None],
        "id": [7, 8],
        "split": ["train", "train"],
    }
    datasets.Dataset.from_dict(columns).to_parquet(tmp_path / "news.parquet")
    import_table(tmp_path / "news.parquet", tmp_path / "news.jsonl")
    source = OwnCaptions(tmp_path, "news.jsonl")
    first, _ = source.queries("train")
    assert first.query_id == "7" and source.articles()[first.article_id].date == "2022-02-27"
    assert source.image_path("train", "8").read_bytes() == GREEN


def test_what_was_written_before_a_kill_is_not_written_again(tmp_path, monkeypatch, caplog):
    from diptych.commands import importing_tables

    triplets().to_parquet(tmp_path / "a.parquet")

    def killed(path, records):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(importing_tables, "write_json_lines", killed)
        import_table(tmp_path / "a.parquet", tmp_path / "a.jsonl")
    pictures = sorted((tmp_path / "a_images").iterdir())
    times = [path.stat().st_mtime_ns for path in pictures[1:]]
    pictures[0].write_bytes(b"")
    (tmp_path / "a_images/.57541dd9c14aa3fe9850ad2567ca732e.png.1-ab.tmp").write_bytes(b"half")
    with caplog.at_level("INFO"):
        import_table(tmp_path / "a.parquet", tmp_path / "a.jsonl")
    assert "3 rows, 3 pictures taken out, 1 of them now" in caplog.text
    assert sorted((tmp_path / "a_images").iterdir()) == pictures and pictures[0].stat().st_size
    assert [path.stat().st_mtime_ns for path in pictures[1:]] == times
    with pytest.raises(ValueError, match=r"a\.jsonl exists; name a file that does not"):
        import_table(tmp_path / "a.parquet", tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("columns", "words", "message"),
    [
        ({"a": ["x"], "b": ["y"]}, [], r"its columns say neither triplets nor captions: a, b"),
        (
            {"reference": [RED], "text": ["x"]},
            ["txt:text"],
            r"columns=txt:text: expected THEIRS:OURS.*has reference, text",
        ),
        (
            {"reference": [RED], "text": ["x"]},
            ["text:reference"],
            r"columns: two of reference, text would have one name",
        ),
        ({"reference": [RED], "target": [RED]}, [], r"there is no column modification_text or"),
        ({"reference": [RED, None], "text": ["x", "y"]}, [], r"row 2, column 'reference': there is no picture"),
        (
            {"reference": [b"GIF"], "text": ["x"]},
            [],
            r"image in \S+, row 1, column 'reference' is not a readable image",
        ),
        (
            {"reference": [3], "text": ["x"]},
            [],
            r"row 1, column 'reference': expected a picture or its path, found int",
        ),
        ({"reference": [RED], "text": [1.5]}, [], r"row 1, column 'text': expected a text, found float"),
        ({"reference": ["a.jpg"], "text": ["x"]}, [], r"row 1, column 'reference': the picture a\.jpg is not on this"),
        ({"reference": [RED], "text": ["x"], "distractors": [RED]}, [], r"'distractors': expected a list of pictures"),
    ],
)
def test_mistakes_name_row_and_column(tmp_path, columns, words, message):
    datasets.Dataset.from_dict(columns).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=message):
        import_table(tmp_path / "a.parquet", tmp_path / "a.jsonl", words)
    assert not (tmp_path / "a.jsonl").exists()


def test_what_is_no_table(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    datasets.DatasetDict({"train": triplets(), "extra": triplets()}).save_to_disk(tmp_path / "named")
    for name, message in (
        ("absent", "absent: there is no such file or folder"),
        ("empty", "empty: no Parquet files in it"),
        ("a.parquet", r"a\.parquet cannot be read"),
        ("named", "named: a split is called 'extra'; rename or drop it"),
    ):
        with pytest.raises(ValueError, match=message):
            import_table(tmp_path / name, tmp_path / "a.jsonl")
    with pytest.raises(ValueError, match="name a file that ends in .jsonl"):
        import_table(tmp_path / "a.parquet", tmp_path / "folder")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say what to import: one of adapter=FOLDER, model=FOLDER, good4cir=FILE, dataset=PATH"),
        (["dataset=a", "heads=2"], "a dataset is imported with dataset=, out= and columns= alone"),
        (["good4cir=a", "columns=[a:b]"], "columns= is of dataset=PATH: leave it out"),
    ],
)
def test_settings_of_the_other_are_refused(words, said, capsys):
    assert run("import", ["out=x.jsonl", *words]) == 2
    assert said in capsys.readouterr().err
