"""Both commands are in the command line, and reading them loads nothing heavy."""

import subprocess
import sys

from pretrain.cli import parser


def test_the_options_of_score_and_compare():
    given = parser().parse_args(
        ["score", "M", "--suite", "core", "--suite", "blimp", "--data", "d", "--limit", "5"]
    )
    assert given.suite == ["core", "blimp"]
    assert given.limit == 5
    assert not given.allow_code
    given = parser().parse_args(["compare", "a", "b", "--json"])
    assert (str(given.a), str(given.b), given.json) == ("a", "b", True)


def test_the_command_line_loads_no_torch():
    code = "import sys, pretrain.cli; pretrain.cli.parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
