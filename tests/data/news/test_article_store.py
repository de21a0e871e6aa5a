from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import sqlite3
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

import patience
from damaged_stores import inflict
from diptych.contracts.news import Article
from diptych.data.news import article_store
from diptych.data.news.article_store import ArticleStore

IDS = ["0000000000000012", "1234567890123456", "12e4567890123456", "abcdef0123456789"]


@pytest.fixture
def source(copy_of) -> Path:
    return copy_of("openevents") / "Database/database.json"


def opened(source: Path, **settings) -> ArticleStore:
    return ArticleStore.open(source, show_progress=False, **settings)


def written(path: Path, num_articles: int, size: int = 20) -> Path:
    """A database of `num_articles`, each with a text of `size` words and two photos."""
    with path.open("w") as file:
        for number in range(num_articles):
            record = {
                "url": f"https://news.invalid/{number}",
                "date": "2021-07-15T02:46:59Z",
                "title": f"Event {number}",
                "images": [f"{2 * number:016x}", f"{2 * number + 1:016x}"],
                "content": f"word{number} " * size,
            }
            file.write(f"{',' if number else '{'}\n{json.dumps(f'{number:016x}')}: {json.dumps(record)}")
        file.write("\n}\n")
    return path


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_articles_come_back_as_they_are_in_file_order(source):
    store = opened(source)
    assert (len(store), store.num_images, list(store)) == (4, 4, IDS)
    assert store[IDS[0]] == Article(
        article_id=IDS[0],
        url="https://news.invalid/1",
        title="Dam\tfails",
        text="First line\nsecond line\ufffd, a bell\ufffd.",
        date="2021-07-15T02:46:59Z",
        image_ids=("00000000000000a1", "00000000000000a2"),
    )
    assert store[IDS[3]].title == "Half \ufffd and nothing\ufffdelse"
    assert [article.article_id for article in store.articles()] == IDS
    assert list(store.articles()) == [store[article_id] for article_id in store]
    assert store.gaps["content"] == 1


def test_articles_of_a_photo(source):
    store = opened(source)
    assert store.article_ids_of_image("12e4567890123456") == (IDS[1],)
    assert store.article_ids_of_image("00000000000000a2") == (IDS[0], IDS[3])  # printed twice
    assert list(store.image_ids()) == ["00000000000000a1", "00000000000000a2", "12e4567890123456", "0000000000000000"]
    with pytest.raises(ValueError, match=r"database\.json holds no article with the image '12e4'"):
        store.article_ids_of_image("12e4")


@pytest.mark.hostile("damage")
@pytest.mark.parametrize(
    ("ask", "stored"),
    [("image", "00000000000000a2"), ("image", "12e4567890123456"), ("article", IDS[1]), ("in", IDS[1])],
)
def test_a_damaged_id_is_not_taken_for_none(source, stored, ask):
    def answer() -> object:
        store = opened(source)
        if ask == "image":
            return store.article_ids_of_image(stored)
        return stored in store if ask == "in" else store[stored]

    whole = answer()
    file = opened(source).file
    content = file.read_bytes()
    damaged = 0
    for place in (at for at in range(len(content)) if content.startswith(stored.encode(), at)):
        inflict(file.parent, Path(file.name), place + 3, 1)
        try:
            assert answer() == whole  # it was another row
        except ValueError as error:
            assert "cannot be read" in str(error) and "it is made again" in str(error)
            damaged += 1
        inflict(file.parent, Path(file.name), place + 3, 1)
    assert damaged


def test_unknown_ids(source):
    store = opened(source)
    assert IDS[1] in store
    assert "1" not in store
    assert 1234567890123456 not in store
    with pytest.raises(ValueError, match=r"holds no article '1'; looked in its store .*database\.articles\.sqlite"):
        store["1"]
    with pytest.raises(ValueError, match="holds no article '#' .'#' stands for a missing article"):
        store["#"]


def test_made_once(source, monkeypatch):
    opened(source)
    assert files(source.parent) == {"database.json", "database.articles.sqlite", "database.articles.sqlite.lock"}
    monkeypatch.setattr(article_store, "stream_articles", None)
    assert list(opened(source)) == IDS


def test_made_again_when_the_source_changes(source):
    store = opened(source)
    assert store[IDS[0]].title == "Dam\tfails"
    source.write_text(source.read_text().replace("Dam\tfails", "Dam\tholds"))  # the same size: the time tells
    changed = opened(source)
    assert changed[IDS[0]].title == "Dam\tholds"
    assert store[IDS[0]].title == "Dam\tfails"  # still reads the file that it has opened
    status = source.stat()
    source.write_text(source.read_text() + " ")  # the same time of change: the size tells
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert opened(source)._facts["source_size"] == status.st_size + 1
    with pytest.raises(ValueError, match="made anew since this store was opened; open it again"):
        pickle.loads(pickle.dumps(changed))[IDS[0]]


def test_a_folder_of_its_own(source, tmp_path):
    first = opened(source, folder=tmp_path / "prepared")
    second = opened(written(tmp_path / "database.json", 3), folder=tmp_path / "prepared")
    assert first.file != second.file
    assert (len(first), len(second)) == (4, 3)
    assert files(source.parent) == {"database.json"}


@pytest.mark.parametrize("damage", ["truncate", "foreign", "header"])
def test_a_damaged_store_is_made_again(source, damage, caplog):
    file = opened(written(source, 200)).file
    whole = file.read_bytes()
    broken = {"truncate": whole[: len(whole) // 2], "foreign": b"", "header": b"x" * len(whole)}[damage]
    file.write_bytes(broken)
    assert len(list(opened(source).articles())) == 200
    assert "is damaged" in caplog.text


def test_damage_met_later_names_the_file(source):
    store = opened(written(source, 200))
    whole = bytearray(store.file.read_bytes())
    whole[8192:] = bytes(len(whole) - 8192)
    fresh = pickle.loads(pickle.dumps(store))
    store.file.write_bytes(whole)
    with pytest.raises(ValueError, match=r"sqlite cannot be read \(.*delete it, and it is made again"):
        list(fresh.articles())


ENDLESS = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT"


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize(
    "changes",
    [
        [
            "DROP TABLE article",
            f"CREATE VIEW article AS {ENDLESS} x AS position, x AS article_id, '' AS url, '' AS title, '' AS text,"
            " '' AS date FROM r",
        ],
        ["ALTER TABLE facts RENAME TO f", f"CREATE VIEW facts AS {ENDLESS} count(*) AS json FROM r"],
        ["ALTER TABLE facts RENAME TO f", "CREATE VIEW facts AS SELECT json FROM f"],
        ["DROP TABLE image", "CREATE VIRTUAL TABLE image USING fts5(position, place, image_id)"],
        ["CREATE TRIGGER t AFTER INSERT ON article BEGIN DELETE FROM article; END"],
        ["CREATE TABLE more (x)"],
        ["DROP INDEX article_of_image"],
        ["DELETE FROM facts"],
        ["UPDATE facts SET json = '[]'"],
        ["UPDATE facts SET json = replace(hex(zeroblob(50000)), '00', '[')"],
        ["UPDATE facts SET json = x'ff'"],
        ["UPDATE facts SET json = json_set(json, '$.num_articles', 'many')"],
        ["UPDATE facts SET json = json_set(json, '$.num_images', -4)"],
        ["UPDATE facts SET json = json_set(json, '$.gaps', json_array(1))"],
        ["UPDATE facts SET json = json_remove(json, '$.gaps')"],
    ],
)
def test_what_is_no_store_of_ours_is_made_again(source, changes):
    file = opened(source).file
    connection = sqlite3.connect(file)
    for change in changes:
        connection.execute(change)
    connection.commit()
    connection.close()
    store = opened(source)
    assert list(store) == IDS and len(store) == len(list(store.articles())) == len(IDS)


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize("value", ["x'00ff'", "CAST(x'ff' AS TEXT)", "zeroblob(100000000)"])
@pytest.mark.parametrize("column", ["article_id", "url", "title", "text", "date"])
def test_what_is_no_text_is_refused_with_the_store_s_name(source, column, value):
    store = opened(source)
    connection = sqlite3.connect(store.file)
    connection.execute(f"UPDATE article SET {column} = {value} WHERE position = 2")
    connection.commit()
    connection.close()
    with pytest.raises(ValueError, match=r"articles\.sqlite cannot be read .*delete it, and it is made again"):
        list(opened(source).articles())


@pytest.mark.hostile("hostile files")
def test_a_query_without_an_end_is_stopped():
    connection = sqlite3.connect(":memory:")
    connection.set_progress_handler(article_store._patience(1000), article_store._STEPS)
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        connection.execute(f"{ENDLESS} count(*) FROM r").fetchall()


@pytest.mark.hostile("hostile files")
def test_rows_without_an_end_are_stopped(source):
    store = opened(source)
    assert list(store)
    store._own.num_bytes = 1
    with pytest.raises(ValueError, match=r"articles\.sqlite cannot be read \(rows without an end\)"):
        list(store)


def test_absent_source_and_folder_that_cannot_be_written(source, tmp_path):
    with pytest.raises(ValueError, match=r"x\.json cannot be read .*docs/openevents\.md"):
        opened(tmp_path / "x.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot be written to .*name a folder: `prepared`"):
        opened(source, folder=tmp_path / "file" / "prepared")


def test_an_error_in_the_source_leaves_nothing(source):
    text = source.read_text()
    source.write_text(text.replace(IDS[3], IDS[0]))
    with pytest.raises(ValueError, match=rf"database\.json, line 7, article '{IDS[0]}': the id occurs twice"):
        opened(source)
    source.write_text(text[:-20])
    with pytest.raises(ValueError, match="line 12: the value of"):
        opened(source)
    assert files(source.parent) == {"database.json", "database.articles.sqlite.lock"}


def test_a_source_that_grows_while_it_is_read_is_refused(source, monkeypatch):
    stream = article_store.stream_articles

    def growing(file, path, gaps):
        yield from stream(file, path, gaps)
        path.write_text(path.read_text() + " ")

    monkeypatch.setattr(article_store, "stream_articles", growing)
    with pytest.raises(ValueError, match="changed while it was read"):
        opened(source)
    assert "database.articles.sqlite" not in files(source.parent)


# ---------------------------------------------------------------------------------------------------- processes

FORK = multiprocessing.get_context("fork")


def _slowly(stream):
    def articles(*arguments):
        for number, item in enumerate(stream(*arguments)):
            yield item
            if number == 50:
                time.sleep(patience.SECONDS)

    return articles


def test_killed_while_it_is_made(tmp_path, monkeypatch):
    source = written(tmp_path / "database.json", 100)
    with monkeypatch.context() as patched:
        patched.setattr(article_store, "stream_articles", _slowly(article_store.stream_articles))
        process = FORK.Process(target=opened, args=(source,))
        process.start()
        patience.wait_until(lambda: list(tmp_path.glob("*.tmp")))
        process.kill()
        process.join()
    assert len(list(tmp_path.glob("*.tmp"))) == 1
    assert not (tmp_path / "database.articles.sqlite").exists()
    assert len(list(opened(source).articles())) == 100
    assert not list(tmp_path.glob("*.tmp"))


def _report(connection, source):
    store = opened(source)
    connection.send((os.getpid(), store.file.stat().st_ino, len(list(store.articles()))))


def test_processes_that_open_at_once_share_one(tmp_path):
    source = written(tmp_path / "database.json", 2_000)
    pairs = [FORK.Pipe(duplex=False) for _ in range(3)]
    processes = [FORK.Process(target=_report, args=(sender, source)) for _, sender in pairs]
    for process in processes:
        process.start()
    answers = [receiver.recv() for receiver, _ in pairs]
    for process in processes:
        process.join()
    assert len({process for process, _, _ in answers}) == 3
    assert {answer[1:] for answer in answers} == {((tmp_path / "database.articles.sqlite").stat().st_ino, 2_000)}


def _read_back(connection, store):
    connection.send([article.article_id for article in store.articles()] == list(store))


def test_a_forked_worker_reads_while_its_parent_does(tmp_path):
    store = opened(written(tmp_path / "database.json", 500))
    stream = store.articles()
    next(stream)
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_read_back, args=(sender, store))
    process.start()
    assert receiver.recv()
    process.join()
    assert len(list(stream)) == 499


def test_threads_and_copies(source):
    store = opened(source)
    found = []
    thread = threading.Thread(target=lambda: found.append(store[IDS[0]]))
    thread.start()
    thread.join()
    copy = pickle.loads(pickle.dumps(store))
    assert found == [store[IDS[0]]] == [copy[IDS[0]]]
    assert (len(copy), copy.gaps) == (len(store), store.gaps)


# ---------------------------------------------------------------------------------------------------- memory


@pytest.mark.slow
def test_memory_does_not_grow_with_the_database(tmp_path):
    """Twenty thousand articles of 2,000 characters: to hold them takes 40 MB, to make and read the store under 8."""
    source = written(tmp_path / "database.json", 20_000, size=200)
    bound = 8 * 2**20
    assert source.stat().st_size > 4 * bound
    tracemalloc.start()
    store = opened(source)
    _, making = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    num_characters = sum(len(article.text) for article in store.articles())
    _, reading = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert num_characters > 4 * bound
    assert making < bound
    assert reading < bound
    tracemalloc.start()
    again = opened(source)
    assert again[f"{19_999:016x}"].image_ids == (f"{39_998:016x}", f"{39_999:016x}")
    _, opening = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert opening < 2**20
