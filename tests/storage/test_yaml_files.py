"""YAML from outside is plain data, bounded in size, depth and aliases, and what comes out of it can be written."""

import json
import time

import pytest
from omegaconf import OmegaConf

from diptych.storage.json_values import DEEPEST
from diptych.storage.yaml_files import LARGEST, MOST_VALUES, read_yaml, yaml_value


def bomb(merged: bool = False) -> str:
    first = "a0: &a0 {k0: 1, k1: 2, k2: 3}" if merged else "a0: &a0 [lol, lol, lol]"
    lines = [first]
    for number in range(1, 30):
        aliases = ", ".join(f"*a{number - 1}" for _ in range(9))
        lines.append(f"a{number}: &a{number} " + (f"{{<<: [{aliases}]}}" if merged else f"[{aliases}]"))
    return "\n".join(lines)


HOSTILE = {
    "object": "a: 1\nb: !!python/object/apply:os.system ['touch /tmp/never']",
    "name": "!!python/name:os.system",
    "path": "!!python/object/apply:pathlib.PosixPath [/etc]",
    "harmless tag": "!!binary aGFsbG8=",
    "own tag": "! text",
    "bomb": bomb(),
    "bomb of merges": bomb(merged=True),
    "within itself": "a: &a [1, *a]",
    "within itself, a mapping": "&a {b: *a}",
    "merge of itself": "&a {<<: *a}",
    "5,000 lists": "[" * 5000,
    "5,000 closed lists": "[" * 5000 + "]" * 5000,
    "5,000 objects": "{a: " * 5000,
    "5,000 dashes": "- " * 5000 + "a",
    "5,000 question marks": "? " * 5000 + "a",
    "5,000 indents": "\n".join(" " * depth + "a:" for depth in range(1200)),
    "many values": "[" + "1," * MOST_VALUES + "1]",
    "no YAML": "{{{{",
    "a quote": 'a: "b',
    "a tab": "a:\n\t- b",
    "two documents": "a\n---\nb",
    "two equal keys": "a: 1\na: 2",
    "two keys that are equal": "1: a\n01: b",
    "two equal keys below an alias": "a: &a {b: 1}\nc: {<<: *a, d: 1, d: 2}",
    "a key that is a list": "? [a]\n: b",
    "a key that is null": "? \n: b",
    "undefined alias": "*a",
    "no character": r'"\UFFFFFFFF"',
    "a long number": "a: " + "9" * 5000,
    "a long number of base 60": "a: 1" + ":1" * 5000,
    "no number": "a: 0b_",
    "equal but for halves": r'{"\ud83d": 1, "\ud83e": 2}',
    "large": "a" * (LARGEST + 1),
}


@pytest.mark.hostile("hostile checkpoints")
@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_plain_and_small_is_refused_with_its_line(name, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(HOSTILE[name])
    start = time.process_time()
    said = r"config\.yaml(:\d+: not YAML \(|: not read: | cannot be read: it has more than )"
    with pytest.raises(ValueError, match=said) as raised:
        read_yaml(path, "make it again")
    assert str(raised.value).endswith("; make it again")
    assert len(str(raised.value).splitlines()) == 1
    assert type(raised.value) is ValueError
    assert time.process_time() - start < 10


def test_where_it_is():
    with pytest.raises(ValueError, match=r"^the checkpoint's config:3: not YAML \(tag 'tag:yaml\S+none': "):
        yaml_value("a: 1\nb: 2\nc: !!python/none x\n", "the checkpoint's config")
    with pytest.raises(ValueError, match=r"^config:2: not YAML \(key 'a' twice\)$"):
        yaml_value("a: 1\na: 1", "config")


@pytest.mark.parametrize("data, line", [(b"a: 1\nb: caf\xe9\n", 2), (b"\xff\xfea\0", 1)])
def test_another_encoding_is_named_with_its_byte(tmp_path, data, line):
    (tmp_path / "a.yaml").write_bytes(data)
    with pytest.raises(ValueError, match=rf"a\.yaml:{line}: not UTF-8 text \(byte 0x"):
        read_yaml(tmp_path / "a.yaml")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="is not there; make it"):
        read_yaml(tmp_path / "a.yaml", "make it")
    assert read_yaml(tmp_path / "a.yaml", missing_ok=True) is None
    with pytest.raises(ValueError, match="cannot be read"):
        read_yaml(tmp_path)


def test_halves_of_pairs_are_replaced_and_a_byte_order_mark_is_none(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text('a: ["\\ud83d", "\\ud83d\\ude00"]\n', encoding="utf-8-sig")
    assert read_yaml(path) == {"a": ["\ufffd", "\U0001f600"]}
    json.dumps(read_yaml(path), ensure_ascii=False).encode()
    assert yaml_value('"\ud83d"', "raw") == "\ufffd"
    assert yaml_value('a: "x\0\x1b[31m\\0\\e\f\\f\\n\t"', "controls") == {"a": "x\ufffd\ufffd[31m\ufffd\ufffd  \n\t"}


def test_the_deepest_that_is_read():
    value = yaml_value("[" * DEEPEST + "]" * DEEPEST, "deep")
    for _ in range(DEEPEST):
        value = value[0] if value else value
    assert value == []


def test_aliases_and_merges_are_read():
    assert yaml_value("a: &a {b: 1, c: 2}\nd: {<<: *a, c: 3}\ne: [*a, *a]", "aliases") == {
        "a": {"b": 1, "c": 2},
        "d": {"b": 1, "c": 3},
        "e": [{"b": 1, "c": 2}] * 2,
    }


SCALARS = """
    1 -1 1_000 0x10 010 1:30 1.5 1e-4 1E5 1.5e4 1.5e+4 -2e3 .5 .5e3 1e 1_0e2 .inf -.inf 1e400 yes no on off true null ~
    2024-01-01 2024-01-01T10:00:00 = 'a' "b" ${c} ${oc.env:HOME} - [] {} text
"""


@pytest.mark.parametrize("scalar", SCALARS.split())
def test_values_are_those_that_omegaconf_reads(scalar):
    text = f"a: {scalar}" if scalar != "-" else "a:\n  -"
    try:
        expected = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except Exception:  # it has no constructor for `=`
        expected = {"a": scalar}
    assert yaml_value(text, "scalar") == expected
    assert type(yaml_value(text, "scalar")["a"]) is type(expected["a"])


def test_what_omegaconf_writes_comes_back():
    content = {"a": {"b": [1, 2.5, 1e-5, None, True, "1e-4", "on", "2024-01-01", "a: b\n\nc", "\u2028", "é"]}, "d": {}}
    assert yaml_value(OmegaConf.to_yaml(OmegaConf.create(content)), "config") == content


@pytest.mark.parametrize("text", ["", "# nothing", "---", "null"])
def test_an_empty_text_is_none(text):
    assert yaml_value(text, "empty") is None
