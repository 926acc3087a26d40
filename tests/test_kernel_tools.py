"""Whole kernels and the real CLI: what Claude sees of the kernel and does in it."""

from __future__ import annotations

import pytest
from kernel_kit import Kernel

from claude_nb.offline import OfflineAPI

pytestmark = pytest.mark.kernel

ALLOW_CODE = "%claude /permissions allow mcp__kernel__run_cell"


def said(kernel: Kernel, prompt: str) -> str:
    """What Claude says in the end to a prompt of one line."""
    return kernel.eval(f"manager.session().ask({prompt!r}).result().text")


def test_claude_sees_variables_cells_and_errors(headless: Kernel) -> None:
    headless.run("import claude_nb; manager = claude_nb.manager()")
    headless.run("rows = [1, 2, 3]; word = 'heron'")
    headless.run("print('printed by me')")
    headless.run("1 / 0")
    assert "printed by me" in said(headless, "read the last cells")
    assert "rows" in said(headless, "list the variables")
    assert "heron" in said(headless, "inspect word")
    assert "no_such_name" in said(headless, "inspect no_such_name")
    assert "ZeroDivisionError" in said(headless, "read the last error")


def test_code_that_a_rule_allows_runs_in_the_namespace_and_its_output_is_shown(headless: Kernel) -> None:
    assert headless.run(ALLOW_CODE).error is None
    cell = headless.run("%%claude\nrun: print('seen by all'); answer = 6 * 7; answer")
    assert cell.error is None
    assert "seen by all" in cell.printed
    assert "42" in cell.value
    assert "It gave: printed:\nseen by all\nresult:\n42" in cell.markdown
    assert headless.eval("answer") == "42"


def test_code_that_fails_is_told_to_claude_and_does_not_fail_the_cell(headless: Kernel) -> None:
    headless.run(ALLOW_CODE)
    cell = headless.run("%claude run: 1 / 0")
    assert cell.error is None
    assert cell.reply["status"] == "ok"
    assert "ZeroDivisionError" in cell.markdown


def test_without_a_rule_nothing_runs_where_nobody_is_there(headless: Kernel) -> None:
    cell = headless.run("%claude run: touched = True")
    assert cell.error is None
    assert "nobody is there to be asked" in cell.markdown
    assert headless.eval("'touched' in globals()") == "False"


def test_claude_is_told_of_the_notebook_and_its_tools_are_there_from_the_first_request(
    headless: Kernel, offline: OfflineAPI
) -> None:
    headless.run("%claude ECHO hello")
    request = [request for request in offline.requests if request.get("tools")][-1]
    assert "Jupyter notebook" in str(request["system"])
    names = {tool["name"] for tool in request["tools"]}
    tools = {"list_variables", "inspect", "cells", "traceback", "figures", "run_cell", "add_cell"}
    assert {f"mcp__kernel__{name}" for name in tools} <= names
