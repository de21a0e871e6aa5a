"""What needs a package that is not installed says which extra brings it, and nothing else needs one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import patience
from diptych.extras import PACKAGES, MissingExtra, missing_extra, require
from without_extras import PythonWithoutExtras

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # which pytest brings there

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[1]

# The modules that cannot be imported without an extra: configs name them, or what is imported inside functions.
BY_TARGET_ONLY = {
    "pydantic": {
        "annotation.answers",
        "annotation.task",
        "report.annotation_review",
        "stages.annotation.question_run",
        "stages.annotation.questions",
        "annotation.candidate_question",
        "annotation.verification_question",
        "annotation.askers.reader",
        "stages.annotation.ask_stage",
        "stages.annotation.compare_ways",
        "stages.annotation.describe_reference",
        "stages.annotation.describe_target",
        "stages.annotation.describe_target_alone",
        "stages.annotation.one_stage",
        "stages.annotation.question_stage",
        "stages.annotation.verify_sentences",
        "stages.annotation.write_modifications",
        "stages.retrieval.rerank",
        "stages.retrieval.verify_candidates",
    },
    "aiohttp": {
        "models.server.prompt_client",
        "models.server.server_client",
        "annotation.askers.online",
        "models.captioners.server",
        "models.server.chat_server",
        "models.server.vlm_client",
        "synthetic.server.__main__",
        "synthetic.server.file_routes",
        "synthetic.server.responses",
        "synthetic.server.server",
    },
    "openai": {"annotation.askers.batch_client"},
    "peft": {
        "models.fuser.fused_lora",
        "models.fuser.merging",
        "models.fuser.qlora_fuser",
        "models.fuser.recomputation",
    },
    "gradio": {"app.answers", "app.caption_tab", "app.page", "app.search_tab"},
    "optuna": {"sweeping.optuna_search", "sweeping.search_space"},
    "sqlalchemy": {"sweeping.study_file"},  # which optuna brings
}


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    with PythonWithoutExtras(tmp_path_factory.mktemp("without_extras")) as python:
        yield python


def answers(python: PythonWithoutExtras, script: str) -> dict[str, str]:
    """The lines `name: text` that a script prints, which must not fail."""
    code, output, errors = python.run(script)
    assert code == 0, errors
    lines = [line.removeprefix("> ") for line in output.splitlines() if line.startswith("> ")]
    return dict(line.split(": ", 1) for line in lines)


def test_every_package_of_an_extra_is_known_by_its_module():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    combined = extras.pop("all")
    declared = {(re.split(r"[<>=! ]", each)[0], extra) for extra, needed in extras.items() for each in needed}
    known = {(package.name, package.extra) for package in PACKAGES.values()}
    assert known <= declared
    assert {name for name, _ in declared} == {name for name, _ in known}
    assert combined == [f"diptych[{','.join(name for name in extras if name != 'app')}]"], "app: see the comment there"


def test_what_is_missing_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtra) as error:
        require("faiss", "choose index=exact")
    assert str(error.value) == (
        "approximate search needs faiss-cpu: pip install 'diptych[search]'; or choose index=exact"
    )


def test_the_reason_is_found_in_what_an_error_came_from(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(RuntimeError) as caught:
        try:
            import peft.tuners  # noqa: F401
        except ImportError as error:
            raise RuntimeError("building failed") from error
    assert "pip install 'diptych[captioning]'" in str(missing_extra(caught.value))


@pytest.mark.parametrize("error", [ValueError("bad"), ModuleNotFoundError("no zebra", name="zebra"), ImportError("no")])
def test_other_errors_have_other_reasons(error):
    assert missing_extra(error) is None


def test_an_error_of_its_own_that_hides_a_missing_package_is_not_explained_by_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError) as caught:
        try:
            import wandb  # noqa: F401
        except ImportError:
            raise ValueError("temperature must be above 0") from None
    assert missing_extra(caught.value) is None


def test_all_but_what_configs_name_is_imported_without_extras(python):
    script = """
import importlib, pkgutil
import diptych
for module in pkgutil.walk_packages(diptych.__path__, "diptych."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        print(f"> {module.name.removeprefix('diptych.')}: {error.name}")
"""
    assert answers(python, script) == {name: package for package, names in BY_TARGET_ONLY.items() for name in names}


def test_retrieval_is_composed_checked_and_described_without_extras(python):
    script = """
import hydra
from diptych.config import building, checking, folder, resolvers
from diptych.parallel import checkpoints
resolvers.register_resolvers()
with hydra.initialize_config_dir(str(folder.CONFIG_FOLDER), version_base="1.3"):
    config = hydra.compose("train", ["experiment=cir_rooms", "system/model/backbone=rooms_small"])
checking.check_data_fits_system(config)
checking.check(config, checking.root_keys("train"))
system = building.build(config.system)
building.build_data(config.data)
building.build_trainer(config.trainer)
print("> system:", type(system).__name__)
print("> versions:", *checkpoints.versions())
"""
    found = answers(python, script)
    assert found["system"] == "CIRSystem"
    versions = set(found["versions"].split())
    assert {"diptych", "torch", "hydra-core"} <= versions
    assert not versions & {package.name for package in PACKAGES.values()}


def test_what_needs_an_extra_names_it(python):
    script = """
from omegaconf import OmegaConf
from diptych.config import building, checking
from diptych.extras import MissingExtra
from diptych.index.faiss_index import FaissIndex
from diptych.annotation.askers.batch import BatchAsker
from diptych.models.backbones.beit3_tokenizer import BEiT3Tokenizer
from diptych.models.captioners.image_text_to_text import ImageTextCaptioner
from diptych.models.sentence_encoder import SentenceTransformerEncoder
from diptych.text.named_entities import EntityRecognizer
from diptych.text.sentences import split_sentences
from diptych.commands.adapter_export import export_adapter
from diptych.models.onnx_embedders import check_onnx
import numpy as np

vectors = np.eye(4, dtype=np.float32)
build = lambda node: building.build(OmegaConf.create(node))
attempts = {
    "fuser": lambda: build({"_target_": "diptych.models.fuser.qlora_fuser.QLoRAFuser"}),
    "checked": lambda: checking.check_section(
        "system", {"model": {"_target_": "diptych.models.fuser.qlora_fuser.QLoRAFuser"}}
    ),
    "export": lambda: export_adapter({}, "any.ckpt", "nowhere", False, "bfloat16"),
    "onnx": check_onnx,
    "captioner": lambda: ImageTextCaptioner("any", "What is there?", quantization="int8").load(),
    "entities": lambda: EntityRecognizer().entities(["Ada"]),
    "sentences": lambda: split_sentences("One. Two."),
    "encoder": lambda: SentenceTransformerEncoder(".").encode(["One."]),
    "batch": lambda: next(BatchAsker("any").ask([], None)),
    "online": lambda: build({"_target_": "diptych.annotation.askers.online.OnlineAsker"}),
    "stage": lambda: build({"_target_": "diptych.stages.annotation.one_stage.OneStage"}),
    "faiss": lambda: FaissIndex().search(vectors, vectors, 2),
    "tokenizer": lambda: BEiT3Tokenizer("any.spm", 10),
    "slurm": lambda: build({"_target_": "diptych.sweeping.slurm_cluster.SlurmCluster"}),
    "optuna": lambda: build({"_target_": "optuna.samplers.TPESampler"}),
    "tracking": lambda: build(
        {"_target_": "diptych.loggers.wandb_logger.ForgivingWandbLogger", "folder": "nowhere"}
    ),
}
for name, attempt in attempts.items():
    try:
        attempt()
        print(f"> {name}: nothing was missing")
    except MissingExtra as error:
        print(f"> {name}: {error}")
"""
    install = {
        name: text.partition(": pip install ")[2].split(";")[0] for name, text in answers(python, script).items()
    }
    extras = {
        "captioning": ("fuser", "checked", "export", "captioner", "entities", "sentences", "encoder"),
        "annotation": ("batch", "online", "stage"),
        "search": ("faiss", "tokenizer"),
        "sweeps": ("slurm", "optuna"),
        "tracking": ("tracking",),
        "onnx": ("onnx",),
    }
    assert install == {name: f"'diptych[{extra}]'" for extra, names in extras.items() for name in names}


@pytest.mark.parametrize(
    ("name", "words", "status", "said"),
    [
        ("review", ["out", "pairs=x"], 2, "error: checking a model's answers needs pydantic"),
        ("app", ["captioner=x"], 2, "error: the page of diptych app needs gradio"),
        (
            "train",
            ["experiment=fuser_newsroom"],
            1,
            "error: system.model: the adapter of a captioning model needs peft",
        ),
        (
            "train",
            ["-m", "experiment=cir_rooms", "sweep=optuna", "seed=choice(0,1)"],
            1,
            "error: sweep=optuna needs optuna",
        ),
    ],
)
def test_commands_say_what_to_install(python, tmp_path, name, words, status, said):
    script = f"""
import os, sys
os.chdir({str(tmp_path)!r})
sys.argv = ["train.py", *{words!r}]
from diptych.commands.main import run
sys.exit(run({name!r}, sys.argv[1:]))
"""
    code, _, errors = python.run(script)
    assert code == status
    assert f"{said}: pip install 'diptych[" in errors
    assert "Traceback" not in errors


def test_captioning_from_python_says_in_one_line_what_to_install(python):
    script = """
import diptych
print(">", diptych.load_retriever.__name__)
try:
    diptych.load_captioner("runs/fuser_newsroom/latest")
except ValueError as error:
    print(">", error)
"""
    code, output, errors = python.run(script)
    assert (code, output.splitlines()) == (
        0,
        [
            "> load_retriever",
            "> the adapter of a captioning model needs peft: pip install 'diptych[captioning]'",
        ],
    ), errors


def test_importing_the_package_takes_no_time():
    """It gives the version and imports nothing but itself: torch alone takes seconds."""
    script = """
import sys
before = set(sys.modules)
import diptych
new = {name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(*sorted(new), *[name for name in sys.modules if name.startswith("diptych.")], diptych.__version__)
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=patience.SECONDS, check=True
    )
    assert re.fullmatch(r"diptych \d+\.\d+\.\d+", result.stdout.strip())
