"""Help works with nothing but the base dependencies, and without importing what it does not need."""

import subprocess
import sys

import pytest

from edge.cli import SUBCOMMANDS, main

HEAVY = ("torch", "onnx", "onnxscript", "onnxruntime", "cv2", "scipy", "sklearn")

HELP_ALONE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {heavy}:
            raise ImportError(name + " is not needed for help")
sys.meta_path.insert(0, Refuse())
from edge.cli import main
sys.exit(main({arguments}))
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_top_level_help_needs_nothing_heavy(arguments):
    program = HELP_ALONE.format(heavy=set(HEAVY), arguments=arguments)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "export",
        "export anomalyclip",
        "export aaclip",
        "export onnx",
        "verify",
        "engine build",
        "calibrate camera",
    ],
)
def test_export_help_needs_no_torch(name):
    program = HELP_ALONE.format(heavy={"torch", "onnx", "onnxscript"}, arguments=[*name.split(), "--help"])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_has_help(name, capsys):
    assert main([name, "--help"]) == 0
    assert "Usage: adclip" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["inspect"], ["run"], ["run", "--confg", "x"]])
def test_usage_errors_end_with_2(arguments, capsys):
    assert main(arguments) == 2
    assert "Usage" in capsys.readouterr().err
