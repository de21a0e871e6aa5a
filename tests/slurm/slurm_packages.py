"""SLURM's and munge's programs on this machine, installed if need be."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "sinfo", "scancel")
_POLICY = Path("/usr/sbin/policy-rc.d")  # asked by Debian's packages before they start a service


def require_slurm() -> None:
    """SLURM and munge, from Debian's packages if they are missing; no service of theirs is started.

    Raises:
        RuntimeError: not root, or they cannot be had; says what to do.
    """
    if os.geteuid() != 0:
        raise RuntimeError("slurmd and slurmctld run as root here: start `make test-slurm` as root")
    if _missing():
        if shutil.which("apt-get") is None:
            raise RuntimeError(f"{', '.join(_missing())} missing, and there is no apt-get: install SLURM and munge")
        log.info("installing slurm-wlm and munge: %s missing", ", ".join(_missing()))
        with _no_services():
            for words in (["update"], ["install", "--yes", "--no-install-recommends", "slurm-wlm", "munge"]):
                apt = ["apt-get", "-qq", *words]
                done = subprocess.run(apt, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, check=False)
                if done.returncode:
                    raise RuntimeError(f"{' '.join(apt)} ended with status {done.returncode}: install SLURM yourself")
    if _missing():
        raise RuntimeError(f"{', '.join(_missing())} missing although slurm-wlm and munge are installed")


def _missing() -> list[str]:
    return [name for name in PROGRAMS if shutil.which(name) is None]


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Debian's packages start no service meanwhile."""
    if _POLICY.exists():  # the machine has one: it is its own
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
