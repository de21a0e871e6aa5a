"""What `diptych env` says: what of a machine decides how Diptych runs, in a form to paste into a report."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from diptych import __version__
from diptych.extras import PACKAGES

_CORE = ("torch", "torchvision", "lightning", "transformers", "hydra-core", "torchmetrics", "open_clip_torch", "opencv")
_OPENCV = ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python")
_VARIABLES = (
    *("DIPTYCH_DATA", "DIPTYCH_RUNS", "DIPTYCH_TRUST", "HF_HOME", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"),
    *("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "SLURM_JOB_ID", "NCCL_DEBUG", "NCCL_SOCKET_IFNAME", "WANDB_MODE"),
)
_GIB = 2**30


def environment() -> list[tuple[str, str]]:
    """Names and what they are, in the order in which they are told. Nothing is written, and nobody is asked; values of
    environment variables are shown of those above alone, none of which holds a secret.
    """
    return [
        ("diptych", f"{__version__} in {Path(__file__).parents[1]}"),
        ("python", f"{platform.python_version()}, {platform.platform()}"),
        ("packages", ", ".join(_versions(_CORE))),
        *(("extra " + extra, ", ".join(found)) for extra, found in _extras().items()),
        ("processors", _processors()),
        ("memory", _memory()),
        *_gpus(),
        *(("disk of " + name, _free(Path(os.environ.get(variable, folder)))) for name, variable, folder in _FOLDERS),
        ("shared memory", _free(Path("/dev/shm"))),
        ("models fetched", _fetched()),
        *((name, os.environ[name]) for name in _VARIABLES if name in os.environ),
    ]


_FOLDERS = (("data", "DIPTYCH_DATA", "data"), ("runs", "DIPTYCH_RUNS", "runs"))


def as_text(facts: Iterable[tuple[str, str]]) -> str:
    """A list in Markdown, an item each."""
    return "".join(f"- {name}: {said}\n" for name, said in facts)


def _versions(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        found = next(filter(None, map(_version, _OPENCV if name == "opencv" else (name,))), None)
        yield f"{name} {found or 'not installed'}"


def _version(name: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(name)
    return None


def _extras() -> dict[str, list[str]]:
    """By extra, what it brings, each with its version."""
    found: dict[str, list[str]] = {}
    for module, package in PACKAGES.items():
        there = importlib.util.find_spec(module) is not None
        said = (_version(package.name) or "version unknown") if there else "not installed"
        found.setdefault(package.extra, []).append(f"{package.name} {said}")
    return found


def _processors() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    about = {key.strip(): value.strip() for key, value in pairs}
    flags = set(about.get("flags", about.get("Features", "")).split())
    known = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16") if name in flags]
    name = about.get("model name") or platform.processor() or platform.machine()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{usable} of {os.cpu_count()} usable, {name}" + (f" ({', '.join(known)})" if known else "")


def _memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return "not known"
    limit = _control_group_limit()
    return f"{total / _GIB:.1f} GiB" + (f", of which this control group may take {limit / _GIB:.1f}" if limit else "")


def _control_group_limit() -> int | None:
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            limit = int(Path(path).read_text())
            return limit if limit < 2**60 else None
    return None


def _gpus() -> Iterator[tuple[str, str]]:
    if importlib.util.find_spec("torch") is None:
        yield "GPU", "not looked for, as torch is not installed"
        return
    import torch

    if not torch.cuda.is_available():
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
        yield "GPU", f"none that torch can use (it is built for {built})"
        return
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        computes = "bfloat16" if about.major >= 8 else "float16"
        size = f"{about.total_memory / _GIB:.0f} GiB, compute capability {about.major}.{about.minor} ({computes})"
        yield f"GPU {number}", f"{about.name}, {size}, CUDA {torch.version.cuda}"


def _free(folder: Path) -> str:
    there = folder.absolute()
    try:
        while not there.exists() and there != there.parent:
            there = there.parent
        usage = shutil.disk_usage(there)
    except OSError as error:
        return f"not known: {folder.absolute()}: {error.strerror}"
    made = "" if there == folder.absolute() else ", not made yet"
    writable = "" if os.access(there, os.W_OK) else ", not writable"
    return f"{usage.free / _GIB:.1f} of {usage.total / _GIB:.1f} GiB free ({folder.absolute()}{made}{writable})"


def _fetched() -> str:
    """What a node without a network can load by name, of Hugging Face's cache."""
    try:
        home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
        hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
        names = sorted(path.name.removeprefix("models--").replace("--", "/") for path in hub.glob("models--*"))
    except (OSError, RuntimeError) as error:  # a user without a home folder is a RuntimeError
        return f"not known: {error}"
    return f"{', '.join(names) or 'none'} ({hub})"
