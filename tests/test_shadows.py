"""A file of the user's that bears the name of a package that is imported late: the error names that file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from claude_nb.shadows import cannot_import

ASK = "\n".join(["%load_ext claude_nb", "%claude hello"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mcp", "this is no Python\n"),
        ("anyio", "raise SystemError('not meant to be imported')\n"),
        ("markdown_it", "x = 1\n"),
    ],
)
def test_the_file_is_named_in_one_line(name: str, content: str, tmp_path: Path, own_data: Path) -> None:
    file = tmp_path / f"{name}.py"
    file.write_text(content)
    command = [sys.executable, "-m", "IPython", "--colors=nocolor", "-c", ASK]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert lines[-1] == (
        f"CannotImport: Your file {file} hides the package {name!r}, which claude_nb needs. "
        "Give it another name, and restart the kernel."
    )
    assert len(lines) <= 2, "above it at most that the turn has failed"


def test_a_debugger_stops_where_the_users_code_is(tmp_path: Path, own_data: Path) -> None:
    code = "\n".join(
        [
            "%load_ext claude_nb",
            "%config SessionManager.cli_path = '/no/such/program'",
            "def mine(here='in my own function'):",
            "    get_ipython().run_line_magic('claude', 'hello')",
            "mine()",
        ]
    )
    command = [sys.executable, "-m", "IPython", "--colors=nocolor", "--pdb", "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, input="p here\nq\n", capture_output=True, text=True, timeout=100, check=False
    )
    assert "ClaudeNotFound: cli_path /no/such/program does not exist" in done.stdout + done.stderr
    assert "'in my own function'" in done.stdout
    assert "claude_nb/" not in done.stdout


def test_a_package_that_is_not_there_is_named() -> None:
    try:
        import no_such_package_anywhere  # noqa: F401
    except ImportError as error:
        failure = cannot_import(error)
    assert isinstance(failure, ImportError)
    assert failure.name == "no_such_package_anywhere"
    assert "pip install" in str(failure)
