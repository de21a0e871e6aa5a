"""What most tests share: a model small enough to be built and trained in milliseconds, and a batch for it."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

import golden_files
import patience
from diptych.config.light_imports import import_lightly
from ladder import SLOWER, in_turns, slower_rung
from warm_python import warm

if TYPE_CHECKING:  # the libraries take seconds, and not every test wants them
    from diptych.contracts.retrieval import TripletBatch
    from diptych.models.backbones.clip import CLIPBackbone, CLIPPreprocessing

# The same examples on every machine. HYPOTHESIS_PROFILE=search looks for new ones: minutes to hours, by hand.
hypothesis.settings.register_profile("ci", derandomize=True, database=None, deadline=None, max_examples=100)
hypothesis.settings.register_profile("search", database=None, deadline=None, max_examples=20_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

TEXTS = (
    "add a lamp",
    "remove the red curtains and the rug beside the bed",
    "paint it blue",
    "a",
    "two more chairs, please",
    "make the bed larger",
    "darker",
    "the floor is now of wood",
)


ROOT = Path(__file__).resolve().parents[1]
_there_before: set[str] = set()


def of_users() -> set[str]:
    """What lies where a user of this checkout has data and runs."""
    return {f"{name}/{path.name}" for name in ("data", "runs") for path in (ROOT / name).glob("*")}


def pytest_sessionstart(session: pytest.Session) -> None:
    _there_before.update(of_users())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """No test writes among a user's own: a tiny set there would be in the way of the demo's."""
    if not hasattr(session.config, "workerinput") and (left := of_users() - _there_before):
        raise pytest.UsageError(
            f"tests, or others meanwhile, have left {sorted(left)} in the checkout: give them data_dir="
        )


def pytest_configure(config: pytest.Config) -> None:
    runs_tests = hasattr(config, "workerinput") or not config.getoption("numprocesses", None)
    if not hasattr(config, "workerinput"):  # not an xdist worker
        warm.begin(at_once=not runs_tests and not config.getoption("fast"))
        os.environ["DIPTYCH_LOCK_PATIENCE"] = str(patience.SECONDS)
    if runs_tests:
        import_lightly()  # as the commands do: most of what libraries import just in case no test wants


def pytest_unconfigure(config: pytest.Config) -> None:
    gc.unfreeze()
    if not hasattr(config, "workerinput"):
        warm.end()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One for each core, and beside the slower rungs one more: tests of processes wait a good part of their time."""
    return len(os.sched_getaffinity(0)) + (0 if config.getoption("fast") else 1)


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """What a test, or a library in it (Lightning sets MASTER_ADDR), puts into the environment is no other test's."""
    before = dict(os.environ)
    yield
    if os.environ != before:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(autouse=True)
def same_logging() -> Iterator[None]:
    """So are what Hydra makes of the root logger, the class of records that a command sets, and who is disabled:
    `caplog` would hold more, or less, in the tests that follow.
    """
    root, factory = logging.getLogger(), logging.getLogRecordFactory()
    level, handlers = root.level, list(root.handlers)
    disabled = {name for name, one in root.manager.loggerDict.items() if getattr(one, "disabled", False)}
    yield
    logging.setLogRecordFactory(factory)
    root.setLevel(level)
    for one in [one for one in root.handlers if one not in handlers and type(one).__module__ != "_pytest.logging"]:
        root.removeHandler(one)
    for name, one in root.manager.loggerDict.items():
        if isinstance(one, logging.Logger):
            one.disabled = name in disabled


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Sums in one order, and no thread pool for matrices of 16 numbers."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture
def tiny_architecture() -> dict[str, Any]:
    """An open_clip model configuration: 16 px pictures, 4 patches, 16-wide embeddings, the usual 77 tokens."""
    return {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
    }


@pytest.fixture
def tiny_preprocessing(tiny_architecture: dict[str, Any]) -> CLIPPreprocessing:
    from diptych.models.backbones.clip import CLIPPreprocessing

    return CLIPPreprocessing("tiny", architecture=tiny_architecture)


@pytest.fixture
def tiny_backbone(
    tiny_architecture: dict[str, Any], tiny_preprocessing: CLIPPreprocessing
) -> Callable[..., CLIPBackbone]:
    """`tiny_backbone(freeze="vision")` and so on: always the same random weights."""
    import torch

    from diptych.models.backbones.clip import CLIPBackbone

    def build(**settings: Any) -> CLIPBackbone:
        torch.manual_seed(0)
        return CLIPBackbone("tiny", tiny_preprocessing, architecture=tiny_architecture, **settings)

    return build


@pytest.fixture
def tiny_batch(tiny_preprocessing: CLIPPreprocessing) -> Callable[..., TripletBatch]:
    """`tiny_batch(8, num_distractors=5)`: random pictures, texts of different lengths, every image with its own key."""
    import torch

    from diptych.contracts.retrieval import TripletBatch

    def build(num_queries: int = 8, num_distractors: int = 0, seed: int = 0) -> TripletBatch:
        generator = torch.Generator().manual_seed(seed)

        def pictures(number: int) -> torch.Tensor:
            return torch.randint(0, 256, (number, 3, 16, 16), dtype=torch.uint8, generator=generator)

        return TripletBatch(
            query_ids=tuple(f"q{number}" for number in range(num_queries)),
            reference=pictures(num_queries),
            target=pictures(num_queries),
            text=tiny_preprocessing.tokenize([TEXTS[number % len(TEXTS)] for number in range(num_queries)]),
            reference_keys=torch.arange(num_queries),
            target_keys=torch.arange(num_queries) + 1000,
            distractors=pictures(num_distractors) if num_distractors else None,
            distractor_keys=torch.arange(num_distractors) + 2000 if num_distractors else None,
        )

    return build


CHAT_TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message.role }}\n{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that matplotlib writes."""
    from matplotlib.figure import Figure

    figures: list[Any] = []
    save = Figure.savefig

    def savefig(figure: Any, *arguments: Any, **settings: Any) -> None:
        figures.append(figure)
        save(figure, *arguments, **settings)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


@pytest.fixture(scope="session")
def tiny_chat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a Qwen3 of two narrow layers and a byte tokenizer with a chat template; 0.5 MB, random weights."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("tiny_chat_model")
    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>")
    fast.add_special_tokens({"additional_special_tokens": ["<|start|>"]})
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(fast),
        hidden_size=64,  # bitsandbytes' 4-bit kernels for the CPU want multiples of 64
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=4096,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sentence_model(tmp_path_factory: pytest.TempPathFactory, tiny_chat_model: Path) -> Path:
    """A folder with a sentence encoder of one narrow layer, random weights: similar texts are near each other."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    root = tmp_path_factory.mktemp("tiny_sentence_model")
    tokenizer = AutoTokenizer.from_pretrained(tiny_chat_model)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.save_pretrained(root / "bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
    )
    BertModel(config).save_pretrained(root / "bert")
    transformer = Transformer(str(root / "bert"))
    transformer.max_seq_length = 512
    SentenceTransformer(modules=[transformer, Pooling(16)], device="cpu").save(str(root / "model"))
    return root / "model"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fast", action="store_true", help="only the tests of the fast rung: see markers in pyproject.toml"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --fast, modules of a slower rung are not even imported."""
    return True if config.getoption("fast") and slower_rung(collection_path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files of the slower rungs come early, since one of them should not be what one worker is left with at the end,
    and files of the fast one between them: tests of processes wait a good part of their time.
    """
    if config.getoption("fast"):
        slower = [item for item in items if any(map(item.get_closest_marker, SLOWER))]
        config.hook.pytest_deselected(items=slower)
        items[:] = [item for item in items if item not in slower]
    items[:] = in_turns(items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What has been imported and collected stays: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Once, what was not checked because it lies on no stranger's machine."""
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])]
    missing = sorted(
        {reason.partition(golden_files.SKIPPED)[2] for reason in reasons if golden_files.SKIPPED in reason}
    )
    if missing:
        number = sum(golden_files.SKIPPED in reason for reason in reasons)
        terminalreporter.write_line(f"{number} golden checks skipped: {'; '.join(missing)}", yellow=True)
