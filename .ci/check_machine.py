"""Stop with a clear message on a machine that this project does not run on. Standard library only, any Python 3."""

import platform
import sys


def main():
    """Stop unless this machine can run what is installed."""
    found = f"{platform.system()} {platform.machine()}, {platform.python_implementation()} {platform.python_version()}"
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        sys.exit(f"error: TensorRT-RTX and onnxruntime-gpu are installed for Linux x86-64 only; this is {found}")
    if platform.python_implementation() != "CPython" or not (3, 11) <= sys.version_info[:2] <= (3, 13):
        sys.exit(f"error: CPython 3.11 to 3.13 is needed; this is {found}\n  hint: make … PYTHON=python3.12")


main()
