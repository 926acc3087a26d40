"""`jupyter claude`, each command as a process of its own. Real CLI, real kernels and a real JupyterLab."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import anthropic
import psutil
import pytest
from bare_python import BarePython
from kernel_kit import environment, running_kernel

from claude_nb import cli
from claude_nb.cli.sandbox import sandbox

COMMAND = [sys.executable, "-m", "claude_nb.cli"]
# JupyterLab and the first prompt on a loaded machine.
PATIENCE = 120


def run(*words: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, **(environment or {})},
        check=False,
    )


@contextlib.contextmanager
def running(
    *words: str, temporary: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A command that runs until it is told to stop; its temporary files are in `temporary`."""
    temporary.mkdir(exist_ok=True)
    with subprocess.Popen(
        [*COMMAND, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if environment else subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary), **(environment or {})},
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def exported(process: subprocess.Popen[str]) -> dict[str, str]:
    """The environment that `offline` prints, as a shell understands it."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("export no_proxy="):
            break
    shell = subprocess.run(
        ["sh", "-c", "".join(lines) + "exec env -0"], capture_output=True, text=True, check=True, env={}
    )
    return dict(entry.split("=", 1) for entry in shell.stdout.split("\0") if "=" in entry)


def address(process: subprocess.Popen[str]) -> str:
    """The address that `demo` prints when JupyterLab listens."""
    assert process.stdout is not None
    return next(found[0] for line in process.stdout if (found := re.search(r"http://\S+", line)))


def get(url: str) -> bytes:
    with contextlib.closing(urllib.request.urlopen(url, timeout=PATIENCE)) as answer:
        return answer.read()


# -- offline -----------------------------------------------------------------------------------------


@pytest.mark.cli
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_offline_prints_an_environment_that_works_and_stops_when_told(
    number: signal.Signals, tmp_path: Path
) -> None:
    with running("offline", temporary=tmp_path / "t") as process:
        environment = exported(process)
        with anthropic.Anthropic(
            base_url=environment["ANTHROPIC_BASE_URL"], api_key=environment["ANTHROPIC_API_KEY"]
        ) as client:
            message = client.messages.create(
                model="a-script", max_tokens=100, messages=[{"role": "user", "content": "hello"}]
            )
        assert "script, not a model" in message.content[0].text  # type: ignore[union-attr]
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
    assert list((tmp_path / "t").iterdir()) == []


def test_offline_says_where_a_script_is_wrong(tmp_path: Path) -> None:
    script = tmp_path / "wrong.yaml"
    script.write_text("rules:\n  - says: hello\n    replies: []\n")
    answer = run("offline", "--script", str(script))
    assert answer.returncode == 1
    assert "wrong.yaml, line 2" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_offline_says_that_a_port_is_taken(tmp_path: Path) -> None:
    with running("offline", temporary=tmp_path / "t") as process:
        port = exported(process)["ANTHROPIC_BASE_URL"].rpartition(":")[2]
        answer = run("offline", "--port", port)
        process.send_signal(signal.SIGINT)
    assert answer.returncode == 1
    assert f"port {port}" in answer.stderr
    assert "--port" in answer.stderr


# -- demo --------------------------------------------------------------------------------------------


@pytest.mark.kernel
def test_demo_execute_prints_what_a_reader_would_see() -> None:
    answer = run("demo", "--execute")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "In [2]: %claude hello" in answer.stdout
    assert "script, not a model" in answer.stdout
    assert "You asked me to remember: **heron**" in answer.stdout
    assert "nobody is there to be asked" in answer.stdout
    assert "<details" not in answer.stdout


@pytest.mark.kernel
def test_no_settings_of_claude_codes_lead_the_demo_to_another_address() -> None:
    with sandbox() as box, box.api() as api:
        theirs = {"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:1", "CLAUDE_CODE_USE_BEDROCK": "1"}}
        (box.private / "claude" / "settings.json").write_text(json.dumps(theirs))
        box.configure(api)
        with environment(box.environment(api)), running_kernel(box.notebooks) as kernel:
            assert "script, not a model" in kernel.run("%claude hello").markdown


@pytest.mark.kernel
def test_the_reader_fails_where_a_cell_fails(tmp_path: Path) -> None:
    notebook = tmp_path / "wrong.ipynb"
    cell = {"cell_type": "code", "id": "a", "execution_count": None, "metadata": {}, "outputs": []}
    cells = [{**cell, "source": "1 / 0"}, {**cell, "id": "b", "source": "'never run'"}]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    notebook.write_text(json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    answer = subprocess.run(
        [sys.executable, "-m", "claude_nb.cli.reader", notebook.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert answer.returncode == 1
    assert "ZeroDivisionError" in answer.stdout
    assert "\x1b" not in answer.stdout
    assert "never run" not in answer.stdout


@pytest.mark.kernel
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_demo_serves_jupyterlab_and_leaves_nothing_when_it_is_stopped(
    number: signal.Signals, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    own = {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    with running("demo", "--no-browser", temporary=tmp_path / "t", environment=own) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "Starting JupyterLab with the example notebooks ...\n"
        url = address(process)
        assert b"JupyterLab" in get(url)
        start_kernel(url)
        below = psutil.Process(process.pid).children(recursive=True)
        assert len(below) >= 3  # guard, server, kernel
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
    _, left = psutil.wait_procs(below, PATIENCE)
    assert left == []
    assert list(home.iterdir()) == []
    assert list((tmp_path / "t").iterdir()) == []


@pytest.mark.kernel
def test_nothing_of_the_demo_outlives_its_own_sudden_death(tmp_path: Path) -> None:
    with running("demo", "--no-browser", temporary=tmp_path / "t") as process:
        start_kernel(address(process))
        below = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait(PATIENCE)
        _, left = psutil.wait_procs(below, PATIENCE)
    assert left == []


def start_kernel(url: str) -> None:
    """Ask the server for a kernel, as opening a notebook does."""
    base, token = re.fullmatch(r"(http://.*?/)lab/tree/.*\?token=(\w+)", url).groups()  # type: ignore[union-attr]
    request = urllib.request.Request(
        f"{base}api/kernels", method="POST", data=b"{}", headers={"Authorization": f"token {token}"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        assert answer.status == 201


@pytest.mark.kernel
def test_demo_wants_its_token(tmp_path: Path) -> None:
    with running("demo", "--no-browser", temporary=tmp_path / "t") as process:
        base = address(process).partition("lab/")[0]
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(f"{base}api/contents")
        refused.value.close()
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
    assert refused.value.code == 403


@pytest.mark.kernel
def test_demo_says_that_a_port_is_taken(tmp_path: Path) -> None:
    with running("offline", temporary=tmp_path / "t") as process:
        port = exported(process)["ANTHROPIC_BASE_URL"].rpartition(":")[2]
        answer = run("demo", "--no-browser", "--port", port)
        process.send_signal(signal.SIGINT)
    assert answer.returncode == 1
    assert "did not start" in answer.stderr
    assert port in answer.stderr


def test_demo_says_how_to_get_jupyterlab(tmp_path: Path) -> None:
    answer = BarePython(tmp_path, without=("jupyterlab",)).run("-m", "claude_nb.cli", "demo", "--no-browser")
    assert answer.returncode == 1
    assert 'pip install "claude-nb[lab]"' in answer.stderr


# -- doctor and login --------------------------------------------------------------------------------


def findings(answer: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    return {finding["what"]: finding for finding in json.loads(answer.stdout)["findings"]}


@pytest.mark.cli
def test_doctor_finds_everything_usable_with_a_key() -> None:
    answer = run("doctor", "--json", environment={"ANTHROPIC_API_KEY": "sk-ant-not-a-key"})
    found = findings(answer)
    assert answer.returncode == 0, answer.stdout
    assert json.loads(answer.stdout)["usable"] is True
    assert "Claude Code" in found["Claude Code"]["found"]
    assert found["signed in"]["level"] == "ok"
    assert "not-a-key" not in answer.stdout + answer.stderr


@pytest.mark.cli
def test_doctor_says_how_to_sign_in() -> None:
    answer = run("doctor")
    assert answer.returncode == 1
    assert "jupyter claude login" in answer.stdout


def test_doctor_says_whether_the_server_extension_is_enabled(tmp_path: Path) -> None:
    shipped = {"JUPYTER_CONFIG_PATH": str(Path(__file__).parents[1] / "jupyter-config")}
    assert findings(run("doctor", "--json", environment=shipped))["server extension"]["level"] == "ok"
    (tmp_path / "jupyter_server_config.json").write_text(
        json.dumps({"ServerApp": {"jpserver_extensions": {"claude_nb": False}}})
    )
    disabled = {"JUPYTER_CONFIG_PATH": f"{tmp_path}:{shipped['JUPYTER_CONFIG_PATH']}"}
    finding = findings(run("doctor", "--json", environment=disabled))["server extension"]
    assert finding["level"] == "note"
    assert "jupyter server extension enable claude_nb" in finding["advice"]


@pytest.mark.parametrize(
    ("variable", "what"),
    [
        ("JUPYTER_RUNTIME_DIR", "runtime folder"),
        ("JUPYTER_DATA_DIR", "data folder"),
        ("CLAUDE_CONFIG_DIR", "Claude's history"),
    ],
)
def test_doctor_says_that_a_folder_cannot_be_written(variable: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answer = run("doctor", "--json", environment={variable: str(tmp_path / "file" / "below")})
    finding = findings(answer)[what]
    assert finding["level"] == "problem"
    assert str(tmp_path / "file") in finding["found"]
    assert "Not a directory" in finding["found"]
    assert variable in finding["advice"]
    assert findings(run("doctor", "--json"))[what]["level"] == "ok"


@pytest.mark.cli
def test_login_is_claude_codes_own() -> None:
    answer = run("login", "--", "--help")
    assert answer.returncode == 0
    assert "claude auth login" in answer.stdout


@pytest.mark.cli
def test_login_passes_options_on() -> None:
    answer = run("login", "--no-such-option")
    assert answer.returncode != 0
    assert "no-such-option" in answer.stderr


# -- mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dmeo"], "Did you mean `demo`?"),
        (["xyzzy"], "There is: demo, offline, sessions, sweep, doctor, login."),
        ([], "--help"),
        (["demo", "--port", "99999999"], "not a port"),
        (["demo", "--prot", "8888"], "--help"),
    ],
)
def test_a_mistake_is_answered_in_one_line_with_the_cure(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said in error
    assert len(error.splitlines()) == 1


def test_it_is_a_subcommand_of_jupyter() -> None:
    jupyter = shutil.which("jupyter", path=str(Path(sys.executable).parent))
    assert jupyter is not None
    answer = subprocess.run(
        [jupyter, "claude", "--version"], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert answer.stdout.startswith("claude_nb ")


def test_no_cli_is_said_in_one_line(tmp_path: Path) -> None:
    bare = BarePython(tmp_path, without=("claude_agent_sdk",))
    answer = bare.run("-m", "claude_nb.cli", "login", PATH="/nowhere")
    assert answer.returncode == 1
    assert "claude-agent-sdk" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
