"""Headless Chromium, where this machine has it."""

import shutil
import subprocess

import pytest

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

needed = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the page's script is not run")


def opened(page):
    """A page after its script ran, and what the browser's console said."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--user-data-dir={page.parent}/profile", "--virtual-time-budget=20000", "--dump-dom", page.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return result.stdout, [line for line in result.stderr.splitlines() if "CONSOLE" in line]
