"""Ask the advisory database about every installed package: `python .ci/audit.py PYTHON AUDITOR`.

PYTHON is the interpreter of the environment that is audited, AUDITOR the `pip-audit` of another. A known vulnerability
fails, and so does a package that cannot be audited (`--strict`). Where the service does not answer, nothing was
audited, which is said and is no failure.
"""

import json
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

OURS = "trt-pipeline"
SERVICE = "https://pypi.org/pypi/pip/25.0/json"
"""What the advisory service answers for a package that is surely there; mirrors of packages often do not have it."""

SILENCE = ("ConnectionError", "Connection refused", "Max retries exceeded", "Name or service not known", "ServiceError")
TIMEOUT_S = 900


def main() -> int:
    """0 where nothing is known against any package, or the service does not answer; 1 otherwise."""
    python, auditor = sys.argv[1:]
    reason = unanswered()
    if reason:
        print(f"NOT RUN: the advisory service does not answer ({reason})")
        return 0
    lines = subprocess.run([python, "-m", "pip", "freeze", "--all"], capture_output=True, text=True, check=True).stdout
    # A local version such as 2.13.0+cpu is the same source as 2.13.0, which is what advisories name.
    pins = [line.split("+")[0] for line in lines.splitlines() if "==" in line and not line.startswith((OURS, "-e"))]
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch) / "requirements.txt"
        listed.write_text("\n".join(pins) + "\n")
        command = [auditor, "--strict", "--no-deps", "--disable-pip", "--progress-spinner", "off", "-r", str(listed)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            print(f"NOT RUN: pip-audit did not finish in {TIMEOUT_S} s")
            return 0
    if done.returncode and any(sign in done.stderr for sign in SILENCE):
        print(f"NOT RUN: the advisory service does not answer ({done.stderr.strip().splitlines()[-1]})")
        return 0
    print(done.stdout + done.stderr, end="")
    print(f"{len(pins)} packages audited" if not done.returncode else "audit FAILED")
    return done.returncode


def unanswered():
    """Why the advisory service is of no use here, or ""."""
    try:
        with urllib.request.urlopen(SERVICE, timeout=30) as answer:
            json.load(answer)
    except (OSError, ValueError) as error:
        return f"{SERVICE}: {error}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
