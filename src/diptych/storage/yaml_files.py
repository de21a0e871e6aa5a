"""YAML that comes from outside: plain data, bounded in size, depth and aliases, and all its texts can be written again.

The one place of the house where YAML that a user or a stranger brings becomes values. PyYAML follows brackets until
Python's stack ends, gives halves of surrogate pairs (`"\\ud83d"`), and lets aliases of aliases of aliases fill the
memory. Numbers are read as OmegaConf reads them (`1e-4` is one), dates are texts.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from diptych.storage.json_values import DEEPEST, encodable, encodable_value
from diptych.storage.regular_file import content_of

LARGEST = 2**20  # bytes; what a run writes of its settings has some 10,000
MOST_VALUES = 50_000  # with those that aliases repeat
_LONGEST_NUMBER = 4300  # characters, as in JSON


def read_yaml(path: Path, advice: str = "", missing_ok: bool = False) -> Any:
    """The value of a YAML file (UTF-8, with or without a byte order mark): dicts, lists, texts, numbers, booleans and
    None; None for an empty file.

    `advice` says in errors what to do. With `missing_ok` the result is None where there is no file.

    Raises:
        ValueError: the file is not there, cannot be read, is a pipe, or as `yaml_value`; names file and line.
    """
    if (data := content_of(path, LARGEST, advice, missing_ok)) is None:
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        then = f"; {advice}" if advice else ""
        number = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}:{number}: not UTF-8 text (byte {data[error.start]:#04x}){then}") from None
    return yaml_value(text, str(path), advice)


def yaml_value(text: str, name: str, advice: str = "") -> Any:
    """The value of a YAML text, as `read_yaml` has it; errors call the text `name`.

    Halves of surrogate pairs in it become U+FFFD. Nothing but plain data is made: no tag is followed, not even those
    that are harmless.

    Raises:
        ValueError: it is no YAML or more than one document; larger than `LARGEST`, nested more than `DEEPEST` times, of
            more than `MOST_VALUES` values; an alias within what it stands for; a tag (`!!python/...`); a key twice in
            one mapping, or one that is none (a list, null). Names the line.
    """
    then = f"; {advice}" if advice else ""
    if len(text) > LARGEST:
        raise ValueError(f"{name}: not read: YAML of more than {LARGEST:,} characters{then}")
    loader = None
    try:
        loader = _PlainLoader(encodable(text))
        return encodable_value(loader.get_single_data())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        reason = ", ".join(part for part in (error.context, error.problem) if part)
    except yaml.reader.ReaderError as error:
        line, reason = text.count("\n", 0, error.position) + 1, f"character U+{error.character:04X}"
    except (ValueError, OverflowError) as error:  # of a number or a character that Python does not have
        line, reason = loader.line + 1 if loader else 1, str(error)
    raise ValueError(f"{name}:{line}: not YAML ({reason}){then}")


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's reader of plain data, which counts what it makes."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._values = 0
        self._sizes: dict[yaml.Node | None, int] = {}  # values of each complete node, itself included

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise _refused(f"tag {event.tag!r:.80}: only plain data is read", event)
        self._depth += 1
        if self._depth > DEEPEST + 1:
            raise _refused(f"nested more than {DEEPEST} times", event)
        before = self._values
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if node not in self._sizes:
                raise _refused(f"alias *{event.anchor} within what it stands for", event)
            self._values += self._sizes[node]
        else:
            self._values += 1
            self._sizes[node] = self._values - before
        if self._values > MOST_VALUES:
            raise _refused(f"more than {MOST_VALUES:,} values, those that aliases repeat counted", event)
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if node.tag.endswith((":int", ":float")) and len(node.value) > _LONGEST_NUMBER:
            raise _refused(f"a number of more than {_LONGEST_NUMBER:,} digits", node)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":null"):
                raise _refused("a key that is no text or number", key)
            if not key.tag.endswith(":merge"):
                value = self.yaml_constructors[key.tag](self, key)
                if value in seen:
                    raise _refused(f"key {value!r:.80} twice", key)
                seen.add(value)
        return node


def _refused(reason: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=reason, problem_mark=at.start_mark)


# As OmegaConf reads numbers: an exponent needs neither a dot nor a sign, and what looks like a date is a text.
_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":value"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*\.?[0-9_]*[eE][-+]?[0-9]+$"), list("-+0123456789")
)
