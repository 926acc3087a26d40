"""Which CLI is started, what its environment must not hold, and what the shim looks like."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bare_python import BarePython

from claude_nb.errors import ClaudeNotFound
from claude_nb.launch import GuardState, find_cli, scrubbed_names, write_shim

MARKER = "test-launch-1"


@pytest.mark.pure
@pytest.mark.parametrize(
    "name",
    [
        "JUPYTER_TOKEN",
        "JUPYTER_TOKEN_FILE",
        "JUPYTERHUB_API_TOKEN",
        "JUPYTERHUB_CLIENT_ID",
        "JPY_API_TOKEN",
        "JPY_SESSION_NAME",
        "CONFIGPROXY_AUTH_TOKEN",
        "CLAUDECODE",
        "CLAUDE_CODE_SSE_PORT",
        "CLAUDE_CODE_SESSION_ID",
        "CLAUDE_CODE_SESSION_ACCESS_TOKEN",
        "CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR",
        "CLAUDE_NB_SESSION",
        "CLAUDE_AUTO_BACKGROUND_TASKS",
    ],
)
def test_secrets_of_the_server_and_traces_of_an_outer_session_are_withheld(name: str) -> None:
    assert scrubbed_names({name: "x"}) == [name]


@pytest.mark.pure
@pytest.mark.parametrize(
    "name",
    [
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        "AWS_SECRET_ACCESS_KEY",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_ENTRYPOINT",
        "CLAUDE_CONFIG_DIR",
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_PATH",
        "JUPYTERHUB_SERVICE_PREFIX",
        "PATH",
        "GITHUB_TOKEN",
    ],
)
def test_the_users_own_credentials_and_settings_stay(name: str) -> None:
    assert scrubbed_names({name: "x"}) == []


@pytest.mark.pure
def test_what_is_set_on_purpose_is_passed_on() -> None:
    assert scrubbed_names({"JUPYTER_TOKEN": "x", "CLAUDECODE": "1"}, keep=["JUPYTER_TOKEN"]) == ["CLAUDECODE"]


def test_the_sdks_own_cli_is_found_without_importing_the_sdk() -> None:
    code = "import sys; from claude_nb.launch import find_cli; print(find_cli());"
    code += "sys.exit(any(name in sys.modules for name in ('claude_agent_sdk', 'mcp')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("claude_agent_sdk/_bundled/claude")


def test_without_the_sdks_cli_the_one_on_the_path_is_used(tmp_path: Path) -> None:
    code = "from claude_nb.launch import find_cli; print(find_cli())"
    bare = BarePython(tmp_path / "packages", without=("claude_agent_sdk",))
    done = bare.run("-c", code, PATH=str(tmp_path))
    assert "ClaudeNotFound" in done.stderr
    assert "pip install" in done.stderr
    program(tmp_path / "claude")
    done = bare.run("-c", code, PATH=str(tmp_path))
    assert done.stdout.strip() == str(tmp_path / "claude")


@pytest.mark.parametrize("make", ["nothing", "folder", "plain"])
def test_a_cli_path_that_cannot_be_run_is_an_error_that_names_it_and_the_cure(
    make: str, tmp_path: Path
) -> None:
    cli = tmp_path / "my claude"
    if make == "folder":
        cli.mkdir()
    if make == "plain":
        cli.write_text("#!/bin/sh\n")
    with pytest.raises(ClaudeNotFound, match="cli_path") as caught:
        find_cli(str(cli))
    assert caught.value.path == str(cli)
    assert str(cli) in str(caught.value)


def test_a_cli_path_in_the_home_folder_is_understood(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    program(tmp_path / "claude")
    assert find_cli("~/claude") == tmp_path / "claude"


def test_the_shim_is_private_and_runs_in_a_folder_with_an_odd_name(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s $HOME; "a" `b` é'
    cli = program(tmp_path / "the 'cli'", 'echo "$#" "$@"')
    shim = write_shim(
        folder,
        cli_path=cli,
        kernel_pid=os.getpid(),
        marker=MARKER,
        state=folder / "state",
        ledger=folder / "ledger",
        unset=["A'B", "C D"],
    )
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o700, 0o600}
    assert shim.read_text().splitlines()[:2] == ["#!/bin/sh", "trap '' INT"]
    done = subprocess.run([shim, "a b", "$x"], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 a b $x\n", "")
    state = GuardState.read(folder / "state")
    assert state is not None
    assert (state.phase, state.status) == ("ended", 0)
    assert not state.guarded


def test_a_shim_written_again_replaces_the_old_one(tmp_path: Path) -> None:
    shims = [
        write_shim(
            tmp_path,
            cli_path=cli,
            kernel_pid=os.getpid(),
            marker=MARKER,
            state=tmp_path / "state",
            ledger=tmp_path / "ledger",
        )
        for cli in ("/bin/false", "/bin/true")
    ]
    assert shims[0] == shims[1]
    assert subprocess.run([shims[0]], timeout=20).returncode == 0


@pytest.mark.pure
@pytest.mark.parametrize("marker", ["", "short", "with space", "../../etc", "-option-like", "new\nline123"])
def test_a_marker_that_could_be_mistaken_is_refused(marker: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a marker"):
        write_shim(tmp_path, cli_path="x", kernel_pid=1, marker=marker, state="s", ledger="l")


@pytest.mark.pure
@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"phase": "running"}', '{"guard": 1}'])
def test_a_state_that_is_not_there_or_not_whole_is_none(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "state"
    if content is not None:
        path.write_text(content)
    assert GuardState.read(path) is None


def program(path: Path, line: str = "exit 0") -> Path:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o700)
    return path
