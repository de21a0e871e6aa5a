"""The pages: links and files that they name are there, command lines are accepted, the README keeps its form."""

import re
import shlex
from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode

import diptych.config.command_line
from diptych.commands import main as door
from diptych.config import arguments, folder, resolvers
from diptych.config.data_files import with_data_files
from test_architecture import ROOMS
from tiny_runs import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name_of(path):
    return str(path.relative_to(ROOT))


def prose(path):
    """A page without its blocks of code."""
    return re.sub(r"^    .*$", "", FENCE.sub("", path.read_text()), flags=re.MULTILINE)


# ------------------------------------------------------------------------------------------------ links and files


def anchors(path):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{name_of(page)} links {target}"
        assert not anchor or anchor in anchors(linked), f"{name_of(page)} links {target}"


def test_the_index_lists_every_page():
    index = (ROOT / "docs/README.md").read_text()
    absent = [page.name for page in PAGES if page.parent.name == "docs" and f"({page.name})" not in index]
    assert absent == ["README.md"]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_of_the_repository_are_there(page):
    """`tests/x.py`, `conf/*.yaml`, and what `make` is asked for, wherever a page names them."""
    text = page.read_text()
    named = re.findall(r"(?<![\w/.])(?:src|tests|conf|benchmarks|docs|\.github)/[\w/.*-]*\w", text)
    of_projects = dict(re.findall(r"^`([\w./]+)`\n\n```\w+\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL))
    absent = [name for name in named if not any(ROOT.glob(name)) and name not in of_projects]
    assert not absent
    goals = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    asked = set(re.findall(r"(?:^ *|`|\| )make ([a-z][a-z-]*)\b(?=`| |$|;|:)", text, flags=re.MULTILINE))
    assert asked <= goals, asked - goals


def test_no_file_cites_a_document_that_is_not_here():
    made_by_commands = {"DATA_CARD.md"}
    of_tests = {"docs/x.md", "docs/tiny.md", "docs/on_disk.md"}
    known = {page.name for page in PAGES} | made_by_commands
    files = [
        path
        for kind in ("src", "conf", "tests", "benchmarks", "docs", "Makefile", "README.md", "CONTRIBUTING.md")
        for path in ([ROOT / kind] if (ROOT / kind).is_file() else (ROOT / kind).rglob("*"))
        if path.suffix in (".py", ".yaml", ".md", ".jinja", "") and path.is_file() and "assets" not in path.parts
    ]
    assert len(files) > 400
    for path in files:
        text = path.read_text()
        cited = set(re.findall(r"[\w./-]*\w\.md\b(?!\.)", text)) - of_tests
        absent = [name for name in cited if Path(name).name not in known]
        assert not absent, f"{name_of(path)} cites {absent}"
        # A document's name in capitals with a section: one in capitals, then 4.2.
        sections = [
            name for name in re.findall(r"\b([A-Z]{4,}) \d+\.\d+\b", text) if name not in ("SLURM", "METEOR", "CUDA")
        ]
        assert not sections, f"{name_of(path)} cites {sections}"


# ------------------------------------------------------------------------------------------------ commands

SCRIPT = re.compile(r"python (train|evaluate)\.py ?(.*)")
MODULE = re.compile(r"python -m diptych\.([\w.]+) ?(.*)")
DOORS = {  # modules whose command has another name
    "report.annotation_review": "review",
    "commands.data_card": "report",
    "synthetic.rooms.generate": "generate rooms",
    "synthetic.market.generate": "generate market",
    "synthetic.newsroom.generate": "generate newsroom",
}
STAND_INS = {  # for what a page leaves to the reader
    "EXPERIMENT": "cir_hotel",
    "archive/captions.csv": f"{ROOT}/tests/assets/own_captions/captions.csv",  # what a table is its columns say
}


def command_lines():
    """Every command line of Diptych in a page, in a block of its own or within a sentence, as words after `diptych`."""
    found = {}
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        blocks = [block for language, block in FENCE.findall(text) if language in ("", "bash", "console")]
        indented = re.findall(r"^    (?:srun )?((?:python|diptych) .*)$", FENCE.sub("", text), flags=re.MULTILINE)
        inline = re.findall(r"(?<!`)`((?:python|diptych) [^`\n]+)`", FENCE.sub("", text))
        for line in [*"\n".join(blocks).splitlines(), *indented, *inline]:
            line = re.sub(r"^(?:# |\$ |srun )", "", line.strip())
            if line.startswith(("python ", "diptych ")):
                words = as_typed(line)
                if words:
                    found.setdefault(" ".join(words), (name_of(page), words))
    return list(found.values())


def as_typed(line):
    """The words after `diptych` of a command line in any of its forms; None for other programs and unfinished lines."""
    line = re.sub(r"\s+#.*$", "", line)
    for name, value in STAND_INS.items():
        line = line.replace(name, value)
    if found := SCRIPT.match(line):
        words = [found[1], *shlex.split(found[2])]
    elif found := MODULE.match(line):
        words = [*DOORS.get(found[1], found[1]).split(), *shlex.split(found[2])]
    else:
        words = shlex.split(line)[1:] if line.startswith("diptych ") else []
    unfinished = not words or "..." in words or words[0].isupper()
    by_another_test = "--config-dir" in words  # docs/extending.md is followed as a whole
    return None if unfinished or by_another_test else words


LINES = command_lines()


@pytest.fixture(scope="module")
def composing():
    resolvers.register_resolvers()
    with hydra.initialize_config_dir(str(folder.CONFIG_FOLDER), version_base="1.3"):
        yield


def accept(words, monkeypatch):
    """Goes through the front door as far as the settings are understood; a command's name alone is one that exists."""

    def compose(config_name, task, given, open_sections=(), rewrite=list):
        plain = single_run(list(given))
        if plain is None:
            return 0
        plain = diptych.config.command_line.with_open_sections(with_data_files(rewrite(plain)), open_sections)
        hydra.compose(config_name, overrides=plain)
        return 0

    def read(function, name, given):
        arguments.read(function, given)
        return 0

    if " ".join(words) in door.COMMANDS:
        return 0
    monkeypatch.setattr(diptych.config.command_line, "entry_point", compose)
    monkeypatch.setattr(door, "run_function", read)
    return door.main(words)


def single_run(words):
    """The overrides of a sweep's first run; None where they lie in a sweep's folder."""
    if any(word.startswith("sweep.resume=") for word in words):
        assert "-m" in words
        return None
    settings = [word for word in words if word not in ("-m", "--cfg", "job")]
    if "-m" not in words:
        return settings
    return [first_value(override) for override in OverridesParser.create().parse_overrides(settings)]


def first_value(override):
    if not override.is_sweep_override():
        return override.input_line
    if override.is_choice_sweep():
        return f"{override.get_key_element()}={next(override.sweep_string_iterator())}"
    return f"{override.get_key_element()}={override.value().start}"


def test_enough_command_lines_are_found():
    assert len(LINES) > 90
    assert {words[0] for _, words in LINES} >= {name.split()[0] for name in door.COMMANDS}


def test_the_list_of_commands_has_every_one():
    listed = re.findall(r"`diptych ([\w ]+)`", (ROOT / "docs/commands.md").read_text().split("\n## ")[0])
    assert sorted(listed) == sorted(door.COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize(("page", "words"), LINES, ids=[f"{page}: {' '.join(words)}" for page, words in LINES])
def test_command_lines_are_accepted(page, words, composing, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert accept(words, monkeypatch) == 0, capsys.readouterr().err


def settings_for_training():
    """The second column of the table in docs/commands.md, each of its alternatives."""
    section = (ROOT / "docs/commands.md").read_text().split("\n## Train\n")[1].split("\n## ")[0]
    cells = [re.split(r"(?<!\\)\|", line)[2] for line in section.splitlines() if line.startswith("| ")]
    for setting in (span for cell in cells for span in re.findall(r"`([^`]+)`", cell) if "=" in span):
        *before, last = setting.split()
        key, _, values = last.partition("=")
        for value in values.split("\\|"):
            yield [*before, f"{key}={value}"]


@pytest.mark.parametrize("words", list(settings_for_training()), ids=" ".join)
def test_settings_for_training_compose(words, composing, monkeypatch):
    needed = ["logger=wandb"] if words[0].startswith("logger.wandb.") else []
    assert accept(["train", "experiment=cir_hotel", *needed, *words], monkeypatch) == 0


# ------------------------------------------------------------------------------------------------ README

SECTIONS = [
    "Install",
    "Try it",
    "Use what you trained",
    "Train",
    "Evaluate",
    "Caption",
    "Annotate",
    "What you get that others do not have",
    "Results",
    "Extend",
    "The house",
    "Limits",
    "Cite, licence",
]


def test_the_readme_is_a_front_page():
    assert re.findall(r"^## (.+)$", README, flags=re.MULTILINE) == SECTIONS
    assert re.findall(r"!\[.*\]\(docs/images/(\w+)\.png\)", README) == ["result", "findings"]
    too_long = [line for line in README.splitlines() if len(line) > 110 and not line.startswith("|")]
    assert not too_long


def test_the_picture_of_the_house_shows_every_room():
    picture = re.search(r"^src/diptych/ .*\n((?:  .*\n)+)", README, flags=re.MULTILINE)[1]
    rooms = [room for line in picture.splitlines() for room in re.split(r" {3,}", line.strip())[0].split()]
    assert sorted(rooms) == sorted(set(ROOMS) - {"doors", "extras"})
    position = {room: number for number, room in enumerate(ROOMS)}
    floors = [[position[room] for room in re.split(r" {3,}", line.strip())[0].split()] for line in picture.splitlines()]
    assert [number for floor in floors for number in floor] == sorted(position[room] for room in rooms)


def test_the_walk_of_an_example_is_as_long_as_it_says(composing):
    intro, walk = re.search(r"from disk to loss, (.*?):\n\n(.*?)\n\n", README, flags=re.DOTALL).groups()
    files, configs = map(int, re.findall(r"\d+", intro))
    named = re.findall(r"`([\w/]+\.py)`", walk)
    assert len(named) == len(set(named)) == files
    absent = [name for name in named if not any((base / name).is_file() for base in (ROOT, ROOT / "src/diptych"))]
    assert not absent
    loader = GlobalHydra.instance().config_loader()
    chosen = loader.compute_defaults_list("train", ["experiment=cir_hotel"], RunMode.RUN).defaults
    own = [item.config_path for item in chosen if item.config_path and not item.config_path.startswith("hydra")]
    assert len(own) == configs


def test_the_readme_s_python_lines_are_those_that_are_run():
    """tests/api runs the first block of docs/python.md on checkpoints that it trains."""
    lines = re.search(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.S)[1]
    assert f"<!-- python -->\n```python\n{lines}```" in (ROOT / "README.md").read_text()
