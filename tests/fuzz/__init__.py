"""Fuzz targets: `python -m tests.fuzz` drives them with atheris, `tests/fuzz/test_hostile_bytes.py` with hypothesis."""
