"""Pages in a real browser, where there is one."""

import shutil
import subprocess
from pathlib import Path

import pytest

import patience

needs_browser = pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium to open the page with")


def opened(path: Path) -> str:
    """The page as it stands after its scripts have run."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"--user-data-dir={path}.d"]
    run = subprocess.run(
        [*command, path.as_uri()], capture_output=True, text=True, timeout=patience.SECONDS, check=True
    )
    return run.stdout  # the deadline ends a hang; it measures nothing
