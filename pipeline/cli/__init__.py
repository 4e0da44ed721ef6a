"""The command line: thin click commands over the flow, one file a group of them."""

from pipeline.cli.main import cli, main

__all__ = ["cli", "main"]
