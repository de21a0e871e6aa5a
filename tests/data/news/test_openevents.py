from __future__ import annotations

import pickle
import shutil

import pytest

from diptych.contracts.news import NewsQuery
from diptych.data.news.openevents import OpenEvents, find_image_folder

HEADER = "image_index,caption,retrieved_article_id,retrieved_image_id\n"
FIRST = NewsQuery(
    query_id="00000000000000b1",
    reference_captions=(
        'Water breaks through the dam, and a man says "run".\n\nIt is 2021.',
        "A second caption of the first photo",
    ),
    article_id="0000000000000012",
    image_id="00000000000000a1",
)


@pytest.fixture
def root(copy_of):
    return copy_of("openevents")


def source(root, **settings) -> OpenEvents:
    return OpenEvents(root, **{"val_share": 0.0, **settings})


def rows(root, *lines: str):
    (root / "Train Set/gt_train.csv").write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return source(root)


def test_construction_reads_nothing(tmp_path):
    data = OpenEvents(tmp_path / "none")
    with pytest.raises(ValueError, match=r"No OpenEvents data: looked in .*docs/openevents\.md"):
        data.queries("train")
    with pytest.raises(ValueError, match="no split 'public'; choose one of train, val, test"):
        data.queries("public")


def test_training_rows(assets):
    queries = source(assets / "openevents").queries("train")
    assert queries[0] == FIRST
    assert queries[1] == NewsQuery("1111111111111111", ("A plain caption without quotes",), None, None)
    assert queries[2] == NewsQuery(
        "12e4567890123456", ("The café opens, twice",), "1234567890123456", "12e4567890123456"
    )
    assert [query.query_id[-2:] for query in queries] == ["b1", "11", "56", "b2", "b3"]


def test_the_two_test_sets_hide_their_answers(assets):
    public, private = (source(assets / "openevents", test_set=name) for name in ("public", "private"))
    assert [query.query_id for query in public.queries("test")] == [
        "00000000000000c1",
        "2222222222222222",
        "12e4567890123457",
    ]
    assert private.queries("test") == [NewsQuery("00000000000000d1")]
    assert public.answers_hidden("test")
    assert not public.answers_hidden("train")
    with pytest.raises(ValueError, match="'both' is not known"):
        source(assets, test_set="both")


def test_articles_are_prepared_once(root):
    data = source(root)
    store = data.articles(show_progress=False)
    assert data.articles() is store
    assert store[data.queries("train")[0].article_id].title == "Dam\tfails"
    assert [image.image_id for image in data.gallery()] == list(store.image_ids())
    copy = pickle.loads(pickle.dumps(data))
    assert copy.articles()[FIRST.article_id] == store[FIRST.article_id]
    elsewhere = source(root, prepared=root / "prepared").articles(show_progress=False)
    assert elsewhere.file.parent == root / "prepared"


# ---------------------------------------------------------------------------------------------------- val


def test_val_is_kept_back_by_article(root):
    lines = [f"{n:016x},caption {n},{n // 3:015x}a,{n:015x}b" for n in range(600)]
    data = rows(root, *lines)
    everything = data.queries("train")
    data = source(root, val_share=0.2)
    train, val = data.queries("train"), data.queries("val")
    assert sorted((*train, *val), key=lambda query: query.query_id) == everything
    assert not {query.article_id for query in train} & {query.article_id for query in val}
    assert len(val) == 108  # golden: the split must never change from one release to the next
    assert [query.query_id for query in val[:4]] == [f"{n:016x}" for n in (0, 1, 2, 12)]
    rows(root, *reversed(lines[:300]))
    fewer = source(root, val_share=0.2).queries("val")
    assert {query.query_id for query in fewer} == {query.query_id for query in val if int(query.query_id, 16) < 300}


def test_nothing_kept_back(root):
    with pytest.raises(ValueError, match=r"gt_train\.csv: val_share=0\.0 leaves nothing for val; choose another"):
        source(root).queries("val")
    with pytest.raises(ValueError, match="val_share=1 must be at least 0 and below 1"):
        source(root, val_share=1)


def test_files_of_their_own(root):
    (root / "mine").mkdir()
    shutil.copy(root / "Train Set/gt_train.csv", root / "mine/val.csv")
    shutil.move(root / "Train Set/gt_train.csv", root / "mine/test.csv")
    data = OpenEvents(root, files={"train": "mine/test.csv", "val": "mine/val.csv", "test": "mine/test.csv"})
    assert data.queries("train") == data.queries("val") == data.queries("test")
    assert data.queries("test")[0] == FIRST
    assert not data.answers_hidden("test")
    with pytest.raises(ValueError, match="files names 'dev', which is not a part of OpenEvents"):
        OpenEvents(root, files={"dev": "x.csv"})


# ---------------------------------------------------------------------------------------------------- photos


def test_a_file_chooses_photos(root, tmp_path):
    chosen = tmp_path / "chosen.jsonl"
    chosen.write_text('{"query_id": "00000000000000b2", "caption": "x"}\n{"query_id": "1111111111111111"}\n')
    queries = source(root, photos=chosen).queries("train")
    assert [query.query_id[-2:] for query in queries] == ["11", "b2"]  # in the set's order
    with pytest.raises(ValueError, match=r"chosen\.jsonl: none of its 2 photos is one of openevents test"):
        source(root, photos=chosen).queries("test")
    chosen.write_text('{"id": "00000000000000b2"}\n')
    with pytest.raises(ValueError, match=r"chosen\.jsonl:1: key 'query_id' is missing"):
        source(root, photos=chosen).queries("train")


def test_photos_are_found_where_archives_put_them(root):
    data = source(root)
    assert data.image_path("train", "00000000000000b1") == root / "Train Set/00000000000000b1.jpg"
    for folder in ("Database/database_images_compressed90", "Train Set/train/images", "Track 1 - Public Set"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / "0000000000000000.jpg").touch()
    (root / "Train Set/__MACOSX").mkdir()
    (root / "Train Set/__MACOSX/._x.jpg").touch()
    data = source(root)
    assert data.image_path("train", "a") == root / "Train Set/train/images/a.jpg"
    assert data.image_path("val", "a") == root / "Train Set/train/images/a.jpg"
    assert data.image_path("test", "a") == root / "Track 1 - Public Set/a.jpg"
    assert data.database_image_path("a") == root / "Database/database_images_compressed90/a.jpg"
    with pytest.raises(ValueError, match="only relative paths below the data folder"):
        data.database_image_path("../../a")


def test_photos_of_two_sizes_are_a_choice(root):
    for name in ("full", "half"):
        (root / "Database" / name).mkdir()
        (root / "Database" / name / "a.jpg").touch()
    with pytest.raises(ValueError, match="holds photos in full and in half; name the one.*`image_folders`: database"):
        source(root).database_image_path("a")
    chosen = source(root, image_folders={"database": "Database/half"})
    assert chosen.database_image_path("a") == root / "Database/half/a.jpg"
    assert find_image_folder(root / "none", "train") == root / "none"


# ---------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("12,caption,#,#", r"gt_train\.csv, line 3: key 'image_index' is '12', not 16 lower-case hexadecimal"),
        ("1.2e+15,caption,#,#", "line 3: key 'image_index' is '1.2e\\+15', not 16"),
        ("00000000000000B2,caption,#,#", "key 'image_index' is '00000000000000B2'"),
        ("00000000000000b2,caption,,#", "key 'retrieved_article_id' is '', not 16"),
        ("00000000000000b2, ,#,#", "line 3: key 'caption' is blank"),
        ("00000000000000b2,caption,#", "line 3: 3 cells, but the header has 4 columns"),
        ("00000000000000b2,one, two,#,#", "line 3: 5 cells"),
        ("00000000000000b1,caption,#,00000000000000a1", "photo '00000000000000b1' has another article"),
    ],
)
def test_broken_rows(root, line, message):
    data = rows(root, "00000000000000b1,caption,0000000000000012,00000000000000a1", line)
    with pytest.raises(ValueError, match=message):
        data.queries("train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "query_id\n00000000000000c1\n00000000000000c1\n",
            r"query\.csv, line 3: query id '00000000000000c1' occurs twice",
        ),
        ("query_id\n12\n", "key 'query_id' is '12'"),
        ("id\n00000000000000c1\n", "key 'query_id' is missing"),
        ("query_id\n", "no rows in it"),
    ],
)
def test_broken_test_files(root, content, message):
    (root / "Track 1 - Public Set/query.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        source(root).queries("test")


def test_absent_files(root):
    (root / "Train Set/gt_train.csv").unlink()
    (root / "Database/database.json").unlink()
    with pytest.raises(ValueError, match=r"gt_train\.csv is not there; docs/openevents\.md"):
        source(root).queries("train")
    with pytest.raises(ValueError, match=r"database\.json cannot be read .*docs/openevents\.md"):
        source(root).articles()


def test_what_a_doctor_says(root):
    data = source(root)
    data.articles(show_progress=False)
    assert data.notes("train") == [
        "openevents train: 22,040 rows expected as published, the files hold 6",
        "openevents train: 202,803 articles expected as published, the files hold 4",
        "openevents train: 1 queries have no annotated article, first 1111111111111111",
        "openevents train: 1 annotated articles are not in the database, first ffffffffffffffff",
        "openevents train: 1 annotated articles have no text, first 12e4567890123456",
    ]
    assert data.notes("test")[0] == "openevents test: 3,000 rows expected as published, the files hold 3"
    assert len(data.notes("test")) == 2
