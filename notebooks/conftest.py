"""Lets `pytest --nbval notebooks/` run with nothing exported: the kernels inherit what is set here.

The offline API plays `offline.yaml`; Claude Code, Jupyter and IPython get private folders, so that neither a
person's account nor their configuration has a part in the result.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from claude_nb.cli.sandbox import FOREIGN, sandbox

# In nbval's format. It runs cells without counting them, in a session of no notebook and with nobody to ask;
# how long a cell took is never the same. A chat's transcript grows by updates, which it does not look at.
SANITIZE = r"""
[number and seconds of a cell]
regex: In ?\[[ \d]+\](, \d+\.\d s)?
replace: In [n]

[name of the session]
regex: allowed in [\w-]+
replace: allowed in SESSION

[who is asked]
regex: is refused(:|&#58;) nobody is there to be asked|asks you, each time
replace: ASKS

[transcript of a chat]
regex: <div class="cnb-saved">[\s\S]*</div>
replace: TRANSCRIPT
"""

_open = pytest.StashKey[ExitStack]()


def pytest_configure(config: pytest.Config) -> None:
    """Called by pytest before nbval starts a kernel."""
    stack = config.stash[_open] = ExitStack()
    box = stack.enter_context(sandbox())
    api = stack.enter_context(box.api())
    environment = box.environment(api)
    for name in list(os.environ):
        if name.startswith(FOREIGN) and name not in environment:
            del os.environ[name]
    os.environ.update(environment)
    sanitize = box.private / "sanitize.cfg"
    sanitize.write_text(SANITIZE)
    config.option.nbval_sanitize_with = str(sanitize)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Called by pytest when everything has run."""
    config.stash[_open].close()
