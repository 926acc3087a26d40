"""What is typed behind `%claude` is what the magic gets: IPython's own input path, all of it.

Most tests run cells in a fresh `InteractiveShell`; the last ones in a whole kernel and a terminal.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import no_var_expand

from claude_nb import verbatim


class Recorder:
    """A `claude` magic that notes what it got, and answers with the number of the call."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.cells: list[tuple[str, str]] = []

    def register(self, shell: InteractiveShell) -> None:
        @no_var_expand
        def claude(line: str, cell: str | None = None) -> int:
            """Note what arrived."""
            if cell is None:
                self.lines.append(line)
            else:
                self.cells.append((line, cell))
            return len(self.lines) + len(self.cells)

        shell.register_magic_function(claude, "line_cell", "claude")


@pytest.fixture(scope="module")
def one_shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InteractiveShell]:
    """One shell for all tests: making one takes a fifth of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        shell = InteractiveShell()
    shell.history_manager.end_session()
    shell.history_manager.enabled = False
    yield shell
    atexit.unregister(shell.atexit_operations)
    shell.atexit_operations()


@pytest.fixture
def shell(one_shell: InteractiveShell) -> Iterator[InteractiveShell]:
    """A shell that keeps prompts verbatim, with an empty namespace."""
    for name in set(one_shell.user_ns) - {"In", "Out", "get_ipython", "exit", "quit", "_ih", "_oh", "_dh"}:
        del one_shell.user_ns[name]
    verbatim.install(one_shell)
    yield one_shell
    verbatim.uninstall(one_shell)


@pytest.fixture
def heard(shell: InteractiveShell) -> Recorder:
    recorder = Recorder()
    recorder.register(shell)
    return recorder


PROMPTS = [
    "",
    "hello",
    "What does this do?",
    "What does numpy.array do??",
    "?",
    "?leading question",
    "!ls is what",
    "it's",
    'say "hi',
    "both ' and \"",
    'three """ of them',
    "three ''' of them",
    "why does f( fail",
    "why [ and {",
    "why ) and ] and }",
    "0777 0b12 1__2 0xzz 1abc",
    "a trailing backslash \\",
    "\\frac{1}{2} \\n \\",
    "$name and {name} and {name!r} and $$ and {{}}",
    "100 % of %claude what? and %%claude",
    "x = %claude y?",
    "ends with a semicolon;",
    "# not a comment",
    "hi  # nor this",
    "tabs\tin\tside",
    "  leading and trailing  ",
    ">>> 1 + 1",
    "In [3]: x",
    "...: x",
    "- a bullet",
    "-s review -o x hi?",
    "naïve “quotes” 日本語 🙂 \u00a0?",
    "form\x0cfeed \x0b \x1c \x85 \u2028 \u2029 end?",
    'f"{',
    "a = b = c?",
    "lambda: (yield",
    "@name and @file.py?",
    "$x^2$ is \\(x^2\\)?",
    "`code` and ```",
    "name = 1",
    "<script>alert('?')</script>",
]

# Where a magic may stand; `BEFORE` and `AFTER` show that the code around it ran.
FORMS = {
    "alone": "%claude {}",
    "with code around it": "BEFORE = 1\n%claude {}\nAFTER = 1",
    "assigned": "BEFORE = 1\nx = %claude {}\nAFTER = x",
    "assigned to an item": "d = {{}}; BEFORE = 1\nd['a'] = %claude {}\nAFTER = d['a']",
    "annotated": "x: dict[str, int] = %claude {}\nAFTER = x",
    "unpacked": "for _ in range(1): x = %claude {}\nAFTER = x",
    "in a loop": "for _ in range(1):\n    %claude {}\nAFTER = 1",
    "assigned in a loop": "for _ in range(1):\n    x = %claude {}\n    AFTER = x",
    "in an if": "if True:\n\t%claude {}\n\tAFTER = 1\nelse:\n\tx",
    "in a function": "def f():\n    x = %claude {}\n    return x\n\nAFTER = f()",
    "in a with": "import contextlib\nwith contextlib.nullcontext():\n  if 1:\n    %claude {}\nAFTER = 1",
    "behind a continued line": "x = \\\n  %claude {}\nAFTER = x",
    "indented as a whole": "    x = 1\n    %claude {}\n    AFTER = x",
    "pasted from a session": ">>> x = %claude {}\n>>> AFTER = x",
    "pasted from IPython": "In [1]: x = %claude {}\n   ...: AFTER = x",
    "behind a shell line": "!true it's (\n%claude {}\nAFTER = 1",
    "behind a string": 's = """\nit\'s (\n"""\n%claude {}\nAFTER = 1',
    "under %%time": "%%time\nx = %claude {}\nAFTER = x",
    "under %%capture": "%%capture out\n%claude {}\nAFTER = 1",
    "under both": "%%capture out\n%%time\n%claude {}\nAFTER = 1",
    "timed": "%time %claude {}\nAFTER = 1",
    "timed with options": "%timeit -n1 -r 1 %claude {}\nAFTER = 1",
    "timed and assigned": "%time x = %claude {}\nAFTER = x",
    "timed in a loop": "for _ in range(1):\n    %time %claude {}\nAFTER = 1",
    "assigned and timed": "x = %time %claude {}\nAFTER = x",
    "timed twice": "%time %timeit -n1 -r1 %claude {}\nAFTER = 1",
    "profiled": "%prun -q -l 1 %claude {}\nAFTER = 1",
    "without a space before it": "x =%claude {}\nAFTER = x",
    "behind a tab": "%claude\t{}",
    "before a carriage return": "%claude {}\r\nAFTER = 1\r\n",
}


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_prompt_on_a_line_arrives_as_typed(
    shell: InteractiveShell, heard: Recorder, form: str, prompt: str
) -> None:
    shell.push({"name": "expanded"})
    cell = form.replace("{{}}", "{ }").replace("{}", prompt)
    shell.run_cell(cell).raise_error()
    assert heard.lines == [prompt]
    for flag in ("BEFORE", "AFTER"):
        assert (flag in shell.user_ns) == (flag in form)
    if "AFTER = x" in form and "    x = 1\n" not in form and "x = %time" not in form:
        assert shell.user_ns["AFTER"] == 1


def test_every_prompt_of_a_cell_arrives_although_each_has_an_open_quote(
    shell: InteractiveShell, heard: Recorder
) -> None:
    cell = "".join(f"%claude {prompt}\nx{n} = %claude {prompt}\n" for n, prompt in enumerate(PROMPTS))
    shell.run_cell(cell).raise_error()
    assert heard.lines == [prompt for prompt in PROMPTS for _ in range(2)]


BODIES = [
    "hello\n",
    "What does this do?\n",
    "it's \"half\n",
    ">>> 1 + 1\n2\n>>> x\n",
    "In [3]: x\n   ...: y\n",
    "...: x\n... y\n",
    "a trailing backslash \\\n",
    "\\\n",
    "    indented\n    all\n",
    "\tindented\n  mixed\n",
    "\n\n  blank lines first and last  \n\n\n",
    "$name {name}\n",
    "%claude what?\n",
    "%%claude again?\n",
    "%%time\n",
    '"""\n',
    "naïve 日本語 🙂 \u00a0 \x0c \x85 \u2028 \u2029?\n",
    "a\r\nb\r\n",
    "!ls\n?\n",
    "ends with a semicolon;\n",
]

FIRST_LINES = ["", "What is this?", "-s 'my review' -o x it's", "  spaces  ", "back\\", "?", "{name} $name"]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("first", FIRST_LINES)
@pytest.mark.parametrize("above", ["", "\n  \n\n", "  ", "%%time\n", "%%capture out\n\n%%time\n\n"])
def test_a_cell_arrives_as_typed(
    shell: InteractiveShell, heard: Recorder, above: str, first: str, body: str
) -> None:
    shell.push({"name": "expanded"})
    shell.run_cell(f"{above}%%claude {first}\n{body}").raise_error()
    assert heard.cells == [(first, body)]
    assert heard.lines == []


def test_a_cell_ends_with_one_newline_whether_typed_or_not(shell: InteractiveShell, heard: Recorder) -> None:
    shell.run_cell("%%claude\nhello").raise_error()
    shell.run_cell("%%claude\nhello\n").raise_error()
    assert heard.cells == [("", "hello\n")] * 2


@pytest.mark.parametrize("cell", ["%%claude What is this?", "%%claude What is this?\n"])
def test_a_cell_without_a_body_is_a_prompt_in_one_line(
    shell: InteractiveShell, heard: Recorder, cell: str
) -> None:
    shell.run_cell(cell).raise_error()
    assert heard.lines == ["What is this?"]


STRINGS = [
    's = """\n%claude what?\n  x = %claude it"s\n%%claude\n"""\n',
    "s = '''\n%claude what?\n'''\n",
    "s = ('a'\n  '%claude what?')\n",
    "s = 'x = %claude what?'\n",
    "s = f'''\n%claude {1}?\n'''\n",
    "# %claude what?\ns = ''\n",
    "claude = 3; s = str(10 %claude)\n",
    "claude = 3\ns = str(10\n%claude)\n",
    "s = dict(x='= %claude it')['x']\n",
]


@pytest.mark.parametrize("code", STRINGS)
def test_python_that_only_mentions_the_magic_is_left_alone(
    shell: InteractiveShell, heard: Recorder, code: str
) -> None:
    namespace: dict[str, object] = {}
    exec(code, namespace)
    shell.run_cell(code).raise_error()
    assert heard.lines == []
    assert shell.user_ns["s"] == namespace["s"]


UNTOUCHED = [
    "%claude?",
    "%claude??",
    "%%claude?",
    "%%claude??",
    "claude?",
    "%claudette what",
    "%claude.x what",
    "%%claudette\nwhat?",
    "%time f('see %claude what')",
    "%timeit x %claude",
    "%%writefile f\n%claude what?",
    "%%bash\n%claude what?",
    "x = 1\n%%claude\nwhat",
    "a = b = %claude what",
    "f(x = %claude what)",
    "x = (",
    "foo?\nx = 1",
    "def f(:\n",
]


@pytest.mark.parametrize("cell", UNTOUCHED)
def test_what_is_no_prompt_is_transformed_as_without_us(shell: InteractiveShell, cell: str) -> None:
    ours = shell.transform_cell(cell)
    verbatim.uninstall(shell)
    assert ours == shell.transform_cell(cell)


def test_help_about_the_magic_still_works(
    shell: InteractiveShell, heard: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    for cell in ("%claude?", "%%claude?"):
        shell.run_cell(cell).raise_error()
        assert "Note what arrived." in capsys.readouterr().out
    assert heard.lines == []
    assert heard.cells == []


def test_a_syntax_error_elsewhere_is_still_reported(
    shell: InteractiveShell, heard: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    result = shell.run_cell("%claude it's ok?\ndef f(:\n    pass\n")
    assert isinstance(result.error_before_exec, SyntaxError)
    assert result.error_before_exec.lineno == 2
    assert heard.lines == []


def test_a_result_is_the_value_of_the_cell_whatever_ends_the_prompt(
    shell: InteractiveShell, heard: Recorder
) -> None:
    assert shell.run_cell("%claude hi;").result == 1
    assert shell.run_cell("%%claude\nhi;").result == 2


def test_the_history_holds_the_cell_as_typed(shell: InteractiveShell, heard: Recorder) -> None:
    shell.history_manager.enabled = True
    for cell in ("%claude it's?", "%%claude\n>>> hi\\"):
        shell.run_cell(cell, store_history=True).raise_error()
        assert shell.history_manager.input_hist_raw[-1] == cell


@pytest.mark.parametrize(
    ("typed", "status"),
    [
        ("%claude it's", "complete"),
        ("%claude why f( fails?", "complete"),
        ('%claude """', "complete"),
        ("x = %claude [", "complete"),
        ("%claude?", "complete"),
        ("for i in x:\n    %claude it's", "incomplete"),
        ("for i in x:\n    %claude it's\n\n", "complete"),
        ("%%claude", "incomplete"),
        ("%%claude it's", "incomplete"),
        ("%%claude\nhello", "incomplete"),
        ("%%claude\nhello\n", "incomplete"),
        ("%%claude\nhello\n\n", "complete"),
        ("x = (", "incomplete"),
        ("x = )", "invalid"),
    ],
)
def test_enter_in_a_terminal_runs_the_cell_when_it_is_complete(
    shell: InteractiveShell, typed: str, status: str
) -> None:
    assert shell.check_complete(typed)[0] == status


def test_unloading_leaves_the_shell_as_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    shell = InteractiveShell()
    manager = shell.input_transformer_manager
    before = [*manager.cleanup_transforms], [*manager.line_transforms], [*manager.token_transformers]
    verbatim.install(shell)
    verbatim.install(shell)
    verbatim.uninstall(shell)
    verbatim.uninstall(shell)
    after = [*manager.cleanup_transforms], [*manager.line_transforms], [*manager.token_transformers]
    assert after == before
    assert not hasattr(InteractiveShell, "_instance") or InteractiveShell._instance is None
    shell.history_manager.end_session()


def test_without_us_ipython_takes_a_question_for_a_request_for_help(shell: InteractiveShell) -> None:
    verbatim.uninstall(shell)
    assert "'pinfo', 'this'" in shell.transform_cell("%claude What is this?")
    assert "pinfo" in shell.transform_cell("x = %claude What is this?")
    assert ">>>" not in shell.transform_cell("%%claude\n>>> 1")


SETUP = """
from IPython.core.magic import no_var_expand
from claude_nb import verbatim
verbatim.install(get_ipython())

@no_var_expand
def claude(line, cell=None):
    print("GOT", ascii((line, cell)))

get_ipython().register_magic_function(claude, "line_cell", "claude")
"""


@pytest.mark.kernel
def test_a_kernel_hands_on_lines_and_cells_as_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_client.manager import start_new_kernel

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        assert output_of(client, SETUP) == ""
        for prompt in PROMPTS:
            expected = f"GOT {(prompt, None)!a}\n"
            assert output_of(client, f"x = %claude {prompt}\nprint('after')") == f"{expected}after\n"
        first = "it's"
        for body in BODIES:
            expected = f"GOT {(first, body)!a}\n"
            assert output_of(client, f"%%claude {first}\n{body}") == expected
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def output_of(client: object, code: str) -> str:
    """What the kernel prints while it runs the code."""
    said: list[str] = []

    def note(message: dict) -> None:
        if message["msg_type"] == "stream":
            said.append(message["content"]["text"])

    reply = client.execute_interactive(code, output_hook=note, timeout=60)
    assert reply["content"]["status"] == "ok", reply["content"]
    return "".join(said)


@pytest.mark.kernel
def test_a_terminal_runs_a_prompt_with_an_open_quote_on_enter(tmp_path: Path) -> None:
    import pexpect

    setup = tmp_path / "setup.py"
    setup.write_text(SETUP)
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path), "TERM": "dumb"}
    arguments = ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor", "-i", str(setup)]
    terminal = pexpect.spawn(sys.executable, arguments, env=environment, encoding="utf-8", timeout=60)
    try:
        terminal.expect_exact("In [1]:")
        terminal.sendline("%claude it's what?")
        terminal.expect_exact("""GOT ("it's what?", None)""")
        terminal.expect_exact("In [2]:")
        terminal.sendline("%%claude")
        terminal.sendline(">>> it's")
        terminal.sendline("")
        terminal.sendline("")
        terminal.expect_exact("""GOT ('', ">>> it's\\n""")
    finally:
        terminal.close(force=True)
