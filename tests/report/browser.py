"""Pages in a real browser, where there is one."""

import re
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


def typed_into(page: Path, script: str) -> str:
    """A copy of the page after `script` has run in it, without the page's policy, which allows no other script.

    `type(name, value)` types into the control of that name.
    """
    typing = """const type = (name, value) => {
      const control = document.getElementById(name);
      control.value = value;
      control.dispatchEvent(new Event("input", { bubbles: true }));
    };"""
    text = re.sub(r"<meta http-equiv.*?>", "", page.read_text(encoding="utf-8"), count=1, flags=re.DOTALL)
    copy = page.with_name(f"copy_of_{page.name}")
    copy.write_text(text.replace("</body>", f"<script>{typing}{script}</script></body>"), encoding="utf-8")
    return opened(copy)
