"""A generated folder is there complete, or not at all; what is in the way is refused."""

from __future__ import annotations

import json
import logging

import pytest

from diptych.synthetic.generated_folder import generate_folder

MANIFEST = {"version": 1, "seed": 3}


def write(folder, content="picture", manifest=MANIFEST):
    (folder / "images").mkdir()
    (folder / "images/a.txt").write_text(content)
    (folder / "set.json").write_text(json.dumps(manifest))


def generate(root, writer=write, manifest=MANIFEST):
    return generate_folder(root, "toy", "set.json", manifest, writer)


def refuse(folder):
    raise AssertionError("nothing was to be written")


def test_the_folder_appears_and_is_then_left_alone(tmp_path, caplog):
    root = tmp_path / "deep" / "set"
    assert generate(root) == root
    assert (root / "images/a.txt").read_text() == "picture"
    assert {path.name for path in root.parent.iterdir()} == {"set", ".set.lock"}
    with caplog.at_level(logging.INFO):
        assert generate(root, refuse) == root
    assert "holds this toy set already" in caplog.text


def test_an_empty_folder_and_what_a_killed_run_left_are_in_nobody_s_way(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / ".set.partial/images").mkdir(parents=True)
    generate(tmp_path / "set")
    assert {path.name for path in tmp_path.iterdir()} == {"set", ".set.lock"}


def test_the_set_is_not_there_before_it_is_complete(tmp_path):
    def fail(folder):
        write(folder)
        assert not (tmp_path / "set").exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "set", fail)
    assert {path.name for path in tmp_path.iterdir()} <= {".set.lock"}


def test_anything_else_is_refused_and_stays(tmp_path):
    generate(tmp_path / "set")
    with pytest.raises(ValueError, match=r"set\.json describes another toy set \(.*3.*than the one asked for \(.*4"):
        generate(tmp_path / "set", refuse, {**MANIFEST, "seed": 4})
    (tmp_path / "set/set.json").write_text("{")
    with pytest.raises(ValueError, match=r"set\.json:1: not JSON .* generate again"):
        generate(tmp_path / "set", refuse)
    (tmp_path / "set/set.json").unlink()
    for root in (tmp_path / "set", tmp_path / "file"):
        (tmp_path / "file").touch()
        with pytest.raises((ValueError, NotADirectoryError), match=r"has no set\.json"):
            generate(root, refuse)
    assert (tmp_path / "set/images/a.txt").is_file()
