import gzip
import shutil
import zipfile

import pytest

from diptych.metrics.captions import meteor_resources as module
from diptych.metrics.captions.meteor_alignment import STAGES
from diptych.metrics.captions.meteor_resources import MeteorResources
from meteor_folder import FUNCTION_WORDS, write_meteor_folder


@pytest.fixture
def folder(tmp_path):
    return write_meteor_folder(tmp_path / "meteor")


@pytest.fixture
def packed(folder):
    """The same with all but the paraphrases in the authors' archive."""
    with zipfile.ZipFile(folder / "meteor-1.5.jar", "w") as archive:
        for name in ("function", "nonbreaking", "synonym"):
            for path in sorted((folder / name).iterdir()):
                archive.write(path, path.relative_to(folder).as_posix())
            shutil.rmtree(folder / name)
    return folder


@pytest.mark.parametrize("kind", ["folder", "packed"])
def test_what_the_files_hold(kind, request):
    resources = MeteorResources(request.getfixturevalue(kind))
    resources.require(STAGES)
    assert resources.function_words == frozenset(FUNCTION_WORDS)
    assert resources.abbreviations == {"v": False, "vs": False, "rev": False, "No": True}
    assert resources.synsets("car") == {"1", "2"}
    assert resources.paraphrases(["many", "a lot of", "a number of"]) == {
        "a lot of": ["many"],
        "many": ["a lot of", "a number of"],
        "a number of": ["a lot of"],
    }
    assert resources.paraphrases(["many"]) == {}


def test_synsets_of_other_forms_of_a_word(folder):
    resources = MeteorResources(folder)
    # Words, exceptions (of which went has one base, and no entry of its own), endings: the first that makes an entry.
    expected = {
        "ride": "13",
        "rode": "13",
        "went": "13 14",
        "children": "15",
        "boxes": "9",
        "parties": "12",
        "men": "8",
    }
    expected |= {"displaying": "7", "larger": "11", "glass": "16", "us": "20", "walked": "14", "walks": "14", "xyz": ""}
    expected |= {"buses": "", "big": "11", "fetes": "12", "": ""}
    assert {word: " ".join(sorted(resources.synsets(word))) for word in expected} == expected


@pytest.mark.parametrize("block", [1, 7, 50])
def test_entries_are_whole_wherever_a_block_ends(folder, monkeypatch, block):
    whole = MeteorResources(folder).paraphrases(["many", "a lot of", "city", "town", "the city"])
    monkeypatch.setattr(module, "_BLOCK", block)
    assert MeteorResources(folder).paraphrases(["many", "a lot of", "city", "town", "the city"]) == whole


def test_without_package_and_folder_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install pycocoevalcap .Java is not needed., or give the folder"):
        MeteorResources().require(("exact",))


def test_a_folder_that_lacks_something_is_named(tmp_path, folder):
    with pytest.raises(ValueError, match=f"{tmp_path} has neither meteor-1.5.jar nor .*english.words, .* leave meteor"):
        MeteorResources(tmp_path).require(("exact", "stem"))
    (folder / "data/paraphrase-en.gz").unlink()
    MeteorResources(folder).require(STAGES[:3])
    with pytest.raises(ValueError, match=r"lacks METEOR's data/paraphrase-en.gz; .*stages=\[exact,stem,synonym\]"):
        MeteorResources(folder).require(STAGES)
    (folder / "synonym/english.synsets").unlink()
    MeteorResources(folder).require(STAGES[:2])
    with pytest.raises(ValueError, match="english.synsets"):
        MeteorResources(folder).require(STAGES[:3])


def test_damaged_files_are_named(folder):
    table = folder / "data/paraphrase-en.gz"
    whole = table.read_bytes()
    for content, problem in (
        (b"no gzip", "cannot be read"),
        (whole[:-12], "cannot be read"),
        (gzip.compress(b"0.5\nmany\n"), "ends within an entry"),
    ):
        table.write_bytes(content)
        with pytest.raises(ValueError, match=f"paraphrase-en.gz {problem}.*install pycocoevalcap again"):
            MeteorResources(folder).paraphrases(["many"])
    (folder / "meteor-1.5.jar").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="meteor-1.5.jar cannot be read .*it is not METEOR 1.5's"):
        assert MeteorResources(folder).function_words
