"""Packages that not every user needs: which extra of pyproject.toml brings each, and what to say where one is missing.

Code that uses one of them calls `require` first, or imports it at the top of a file that only a `_target_` names; for
those, and for what other libraries import, `missing_extra` finds the reason in the error.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple


class Package(NamedTuple):
    """What a module is installed as, the extra that has it, and what needs it."""

    name: str
    extra: str
    needed_by: str


PACKAGES = {  # by the name of the module
    "peft": Package("peft", "captioning", "the adapter of a captioning model"),
    "bitsandbytes": Package("bitsandbytes", "captioning", "a quantised model"),
    "spacy": Package("spacy", "captioning", "finding named entities or noun phrases"),
    "sentence_transformers": Package("sentence-transformers", "captioning", "embedding sentences"),
    "sentencex": Package("sentencex", "captioning", "splitting texts into sentences"),
    "openai": Package("openai", "annotation", "asking a server in batches"),
    "aiohttp": Package("aiohttp", "annotation", "asking a server"),
    "pydantic": Package("pydantic", "annotation", "checking a model's answers"),
    "faiss": Package("faiss-cpu", "search", "approximate search"),
    "sentencepiece": Package("sentencepiece", "search", "BEiT-3's tokenizer"),
    "submitit": Package("submitit", "sweeps", "cluster=slurm"),
    "optuna": Package("optuna", "sweeps", "sweep=optuna"),
    "wandb": Package("wandb", "tracking", "logger=wandb"),
    "datasets": Package("datasets", "datasets", "importing Parquet files and folders of Hugging Face datasets"),
    "onnxscript": Package("onnxscript", "onnx", "writing ONNX files"),
    "onnxruntime": Package("onnxruntime", "onnx", "writing ONNX files"),
    "tensorboard": Package("tensorboard", "tracking", "logger=tensorboard"),
    "mlflow": Package("mlflow-skinny", "tracking", "logger=mlflow"),
    "sqlalchemy": Package("sqlalchemy", "tracking", "logger=mlflow"),
    "alembic": Package("alembic", "tracking", "logger=mlflow"),
    "gradio": Package("gradio", "app", "the page of diptych app"),
}


class MissingExtra(ValueError):
    """A package is not installed; the message is one line that says what needs it and what to install."""


def require(module: str, otherwise: str | None = None) -> None:
    """Does nothing where `module`, one of PACKAGES, can be imported; imports nothing itself.

    Raises:
        MissingExtra: it is not installed; the message ends in `otherwise`, what could be done instead.
    """
    if find_spec(module) is None:
        raise MissingExtra(_advice(module) + (f"; or {otherwise}" if otherwise else ""))


def missing_extra(error: BaseException) -> MissingExtra | None:
    """The reason for an error, where it is that one of PACKAGES is missing, itself or in what it came from."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MissingExtra):
            return cause
        module = (cause.name or "").partition(".")[0] if isinstance(cause, ModuleNotFoundError) else ""
        if module in PACKAGES:
            return MissingExtra(_advice(module))
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return None


def _advice(module: str) -> str:
    package = PACKAGES[module]
    return f"{package.needed_by} needs {package.name}: pip install 'diptych[{package.extra}]'"
