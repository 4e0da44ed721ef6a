import resource
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.cli.exit_codes import MEANINGS, ExitCode
from pipeline.cli.main import COMMANDS
from pipeline.core import errors

HEAVY = ("torch", "transformers", "onnx", "onnx_ir", "onnxruntime", "polygraphy", "pydantic", "jinja2", "numpy")
LIMIT_S = 0.5


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=lambda command: " ".join(command) or "-")
def test_help_of_every_command(command):
    result = CliRunner().invoke(cli, [*command, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")
    assert max(len(line) for line in result.output.splitlines()) <= 100


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom pipeline.cli.main import COMMANDS, cli\n"
        "for name in ['', *COMMANDS]:\n"
        "    assert CliRunner().invoke(cli, [*name.split(), '--help']).exit_code == 0\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_help_answers_in_half_a_second_of_processor_time():
    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "pipeline.cli", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) <= LIMIT_S


def test_exit_codes_and_completion_are_documented():
    text = CliRunner().invoke(cli, ["--help"]).output
    for code in ExitCode:
        assert f"{code:>3}  {MEANINGS[code]}" in text
    assert 'eval "$(_TRT_PIPELINE_COMPLETE=bash_source trt-pipeline)"' in text


def test_every_error_has_a_documented_exit_code():
    kinds = [errors.PipelineError, *errors.PipelineError.__subclasses__()]
    assert {kind.exit_code for kind in kinds} <= set(ExitCode)


def test_completion_knows_commands_and_engines(clone):
    def complete(*words):
        environment = {
            "_TRT_PIPELINE_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["trt-pipeline", *words]),
            "COMP_CWORD": str(len(words)),
        }
        return clone_runner.invoke(cli, prog_name="trt-pipeline", env=environment).output

    clone_runner = CliRunner()
    assert "plain,engine" in complete("eng")
    assert "plain,tiny" in complete("engine", "ti")
