import hashlib
import json

import pytest

from diptych.data.pairs.image_pairs import ImagePair, read_pairs
from diptych.photos.image_urls import is_remote


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for name in "abc":
        (tmp_path / "images" / f"{name}.jpg").write_bytes(b"x")
    return tmp_path


def write(path, records):
    lines = path.suffix == ".jsonl"
    path.write_text("\n".join(map(json.dumps, records)) if lines else json.dumps(records))
    return path


def pair(reference, target, **more):
    return {"reference_image": reference, "target_image": target, **more}


def test_the_published_list_of_urls(tmp_path):
    urls = ["https://x.org/1.jpg", "http://x.org/2.jpg"]
    pairs = read_pairs(write(tmp_path / "pairs.json", [pair(*urls), pair(*urls[::-1]), pair(*urls)]))
    expected = hashlib.sha256("\n".join(urls).encode()).hexdigest()[:16]
    assert pairs.pairs[0] == ImagePair(expected, *urls)
    assert len(pairs.pairs) == 2
    assert pairs.num_duplicates == 1
    assert pairs.images == tuple(urls)
    assert all(map(is_remote, pairs.images))


def test_our_lines_with_local_files(folder):
    records = [pair("images/a.jpg", "images/b.jpg", pair_id=7, group="h1"), pair("images/a.jpg", "images/c.jpg")]
    pairs = read_pairs(write(folder / "pairs.jsonl", records)).pairs
    a, b = (str(folder.resolve() / "images" / f"{name}.jpg") for name in "ab")
    assert pairs[0] == ImagePair("7", a, b, "h1")
    assert read_pairs(write(folder / "more.jsonl", [pair(a, b)])).pairs[0].reference_image == a
    below = [pair("a.jpg", "b.jpg")]
    assert read_pairs(write(folder / "more.jsonl", below), folder / "images").pairs[0].target_image == b


def test_ids_do_not_depend_on_where_the_files_lie(folder):
    path = write(folder / "pairs.jsonl", [pair("images/a.jpg", "images/b.jpg")])
    first = read_pairs(path).pairs[0].pair_id
    moved = folder.rename(folder.with_name("moved"))
    assert read_pairs(moved / "pairs.jsonl").pairs[0].pair_id == first


def test_the_same_images_written_otherwise_are_a_duplicate(folder):
    path = write(folder / "pairs.jsonl", [pair("images/a.jpg", "images/b.jpg"), pair("./images/a.jpg", "images/b.jpg")])
    assert read_pairs(path).num_duplicates == 1


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (pair("images/a.jpg", "images/a.jpg"), "are the same"),
        (pair("images/a.jpg", ""), "'target_image' is blank"),
        ({"reference_image": "images/a.jpg"}, "'target_image' is missing"),
        (pair("images/a.jpg", None), "'target_image' is missing"),
        (pair("images/a.jpg", "../b.jpg"), "refused"),
        (pair("images/a.jpg", "ftp://x.org/b.jpg"), "neither a path nor"),
        (pair("images/a.jpg", "images/c.jpg", pair_id="1"), "'1' is that of an earlier pair"),
        (pair("images/a.jpg", "images/c.jpg", pairid="2"), "did you mean 'pair_id'"),
        (pair("images/a.jpg", "images/c.jpg", group=[]), "'group' must be a string"),
    ],
)
@pytest.mark.parametrize("name", ["pairs.json", "pairs.jsonl"])
def test_errors_name_file_and_record(folder, name, record, words):
    path = write(folder / name, [pair("images/a.jpg", "images/b.jpg", pair_id="1"), record])
    where = ":2" if name.endswith("l") else ", record 1"
    with pytest.raises(ValueError, match=f"{name}{where}.*{words}"):
        read_pairs(path)


def test_a_wrong_root_or_file_is_noticed(folder):
    with pytest.raises(ValueError, match="none of its 2 local images is there"):
        read_pairs(write(folder / "pairs.json", [pair("a.jpg", "b.jpg")]))
    with pytest.raises(ValueError, match="list or a .jsonl"):
        read_pairs(folder / "pairs.csv")
    with pytest.raises(ValueError, match="is not there"):
        read_pairs(folder / "absent.json")
    with pytest.raises(ValueError, match="no records"):
        read_pairs(write(folder / "pairs.json", []))


def test_one_picture_in_two_spellings_gives_one_pair_and_one_id(folder):
    written = [("images/a.jpg", "images/b.jpg"), ("images//a.jpg", "./images/./b.jpg")]
    ids = {
        read_pairs(write(folder / f"{n}.jsonl", [pair(*images)])).pairs[0].pair_id for n, images in enumerate(written)
    }
    assert len(ids) == 1
    full = [
        (f"{folder}/images/a.jpg", f"{folder}//images/./b.jpg"),
        (f"{folder}/images/a.jpg", f"{folder}/images/b.jpg"),
    ]
    assert read_pairs(write(folder / "full.jsonl", [pair(*images) for images in full])).num_duplicates == 1
