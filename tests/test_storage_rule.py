"""Only the room `storage` waits for the disk, locks, renames, and says what is wrong with JSON: there it is proved."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "diptych"
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] != "storage"]
WHOLE = ("whole_file", "whole_folder")
MAY_WRITE = {  # these are handed a file or folder that lies in a whole one
    ("embedding_store.py", "_write_vectors"),
    ("layout.py", "write_json"),
    ("layout.py", "write_table"),
    ("layout.py", "write_database"),
    ("lessons.py", "write"),
    ("story.py", "make_story"),
    ("story.py", "_write_photos"),
    ("triplet_sets.py", "_write_scene"),
    ("triplet_sets.py", "_write_json"),
}
STREAMED = "json_stream.py"  # reads a value at a time, and knows the lines itself
PACKAGED = "texts.py"  # reads YAML of the package's own, in the generated newsroom
SEARCHED = "rooms_answers.py"  # the stand-in of a server, which looks for JSON in the prompts of our own


def breaches(source: str) -> Iterator[tuple[int, str]]:
    """Line and rule of each thing that belongs into the room."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            if "fcntl" in names or (isinstance(node, ast.ImportFrom) and node.module in ("os", "shutil")):
                yield node.lineno, "locks with fcntl, or hides where os and shutil are used"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield from ((node.lineno, rule) for rule in _of_call(node, node.func))
        elif isinstance(node, ast.Raise) and re.search(r"not (valid )?JSON", ast.unparse(node)):
            yield node.lineno, "words an error about JSON by itself"


def _of_call(call: ast.Call, function: ast.Attribute) -> Iterator[str]:
    name = f"{ast.unparse(function.value)}.{function.attr}"
    if name in (
        "os.fsync",
        "os.fdatasync",
        "os.sync",
        "os.replace",
        "os.rename",
        "os.renames",
        "shutil.move",
    ) or function.attr in ("rename", "flock", "lockf"):
        yield f"calls {name}"
    elif function.attr == "replace" and name.split(".")[0] != "dataclasses":
        # A text's takes two arguments, a date's or a record's keywords: one argument is a path's.
        of_path = len(call.args) == 1 and not call.keywords
        if of_path or name == "Path.replace" or any(isinstance(argument, ast.Starred) for argument in call.args):
            yield f"calls {name}"
    elif name in ("json.load", "json.JSONDecoder") or (name == "json.loads" and not _copies(call.args[0])):
        yield "parses JSON by itself"
    elif name in ("yaml.load", "yaml.safe_load", "yaml.full_load"):
        yield "parses YAML by itself"


def _copies(argument: ast.expr) -> bool:
    """Whether what is parsed was a value in this process: a copy of settings, or of a library's tokenizer."""
    return isinstance(argument, ast.Call) and ast.unparse(argument.func).endswith(("json.dumps", ".to_str"))


def plain_writes(source: str) -> Iterator[tuple[str, str]]:
    """Function and call where a file is replaced by what is written, but not in the block of a whole file or folder."""
    yield from _plain_writes(ast.parse(source), "")


def _plain_writes(node: ast.AST, function: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        function = node.name
    if isinstance(node, ast.With) and any(
        isinstance(part, ast.Call) and ast.unparse(part.func) in WHOLE for part in (i.context_expr for i in node.items)
    ):
        return
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        modes = [a.value for a in [*node.args[:2], *(k.value for k in node.keywords)] if isinstance(a, ast.Constant)]
        opened = node.func.attr == "open" and any(set(str(mode)) & set("wx") and len(str(mode)) < 4 for mode in modes)
        of_path = bool(node.args) and isinstance(node.args[0], ast.BinOp) and isinstance(node.args[0].op, ast.Div)
        saved = node.func.attr in ("save", "savez", "savefig", "copyfile", "save_file", "write_index") and of_path
        if opened or saved or node.func.attr in ("write_text", "write_bytes"):
            yield function, ast.unparse(node)
    for child in ast.iter_child_nodes(node):
        yield from _plain_writes(child, function)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_room_waits_locks_renames_and_reads_json(path):
    found = [f"{path}:{line}: {rule}" for line, rule in breaches(path.read_text())]
    if path.name in (STREAMED, SEARCHED):
        found = [fault for fault in found if not fault.endswith("JSON by itself")]
    if path.name == PACKAGED:
        found = [fault for fault in found if not fault.endswith("YAML by itself")]
    assert not found, "diptych.storage has a function for it: " + "; ".join(found)


def test_what_is_written_is_written_whole():
    found = {(path.name, function): call for path in FILES for function, call in plain_writes(path.read_text())}
    unknown = {place: call for place, call in found.items() if place not in MAY_WRITE}
    assert not unknown, f"use diptych.storage.whole: {unknown}"
    assert not MAY_WRITE - found.keys(), "these write nothing any more"


@pytest.mark.parametrize(
    "source",
    [
        "import fcntl",
        "from os import fsync",
        "os.fsync(file.fileno())",
        "os.replace(a, b)",
        "temporary.replace(path)",
        "path.with_name('x').replace(path)",
        "Path.replace(a, b)",
        "folder.rename(aside)",
        "shutil.move(a, b)",
        "json.loads(path.read_text(encoding='utf-8'))",
        "json.load(file)",
        "json.loads(row[0])",
        "json.JSONDecoder(strict=False)",
        "yaml.safe_load(path.read_text())",
        "raise ValueError(f'{path} is not JSON ({error})')",
    ],
)
def test_breaches_are_found(source):
    assert len(list(breaches(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "text.replace('a', 'b')",
        "text.replace('a', 'b', 1)",
        "moment.replace(microsecond=0)",
        "dataclasses.replace(record)",
        "replace(record, state='done')",
        "json.loads(json.dumps(settings))",
        "move(path, aside)",
    ],
)
def test_what_only_looks_like_one_is_none(source):
    assert not list(breaches(source))


def test_plain_writes_are_found():
    source = """
def plain(path):
    path.write_text("a")
    path.open("w")
    path.open(mode="xb")
    figure.savefig(folder / "a.png")

def whole(path):
    with whole_file(path) as temporary, temporary.open("w") as file:
        temporary.write_bytes(b"a")
    path.open("rb")
    path.open("a")
    image.save(buffer)
"""
    assert [function for function, _ in plain_writes(source)] == ["plain"] * 4
