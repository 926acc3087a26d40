"""A temporary copy of the example notebooks, with an environment that keeps the person's own set-up out.

HOME stays what it is, because terminals and the user's own imports belong to it; every folder that Claude
Code, Jupyter and IPython would use is moved instead.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from claude_nb.cli import CommandError
from claude_nb.offline import OfflineAPI
from claude_nb.private import replace_file

QUICKSTART = "01-quickstart.ipynb"
SCRIPT = "offline.yaml"

# Another account, another server's identity, another configuration. Our own variables stay.
FOREIGN = ("ANTHROPIC_", "CLAUDE_", "CLAUDECODE", "IPYTHON", "JPY_", "JUPYTER", "__vsc")
OURS = "CLAUDE_NB_"

# What JupyterLab would ask a newcomer in a dialog, and what would send requests to the network.
LAB_SETTINGS = {
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {
        "fetchNews": "false",
        "checkForUpdates": False,
    },
}


@dataclass(frozen=True)
class Sandbox:
    """The folders of one demo."""

    folder: Path

    @property
    def notebooks(self) -> Path:
        return self.folder / "notebooks"

    @property
    def private(self) -> Path:
        return self.folder / "private"

    @property
    def runtime(self) -> Path:
        return self.private / "runtime"

    def api(self) -> OfflineAPI:
        """The offline API with the notebooks' own script."""
        return OfflineAPI(script=self.notebooks / SCRIPT)

    def environment(self, api: OfflineAPI, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The environment of everything that runs in the sandbox."""
        own = {n: v for n, v in environ.items() if n.startswith(OURS) or not n.startswith(FOREIGN)}
        return {**own, **self._folders(), **api.environment(self.private / "claude")}

    def configure(self, api: OfflineAPI) -> None:
        """Let no settings of Claude Code's, such as the machine's, name another API: ours beat them there."""
        profile = self.private / "ipython" / "profile_default"
        profile.mkdir(mode=0o700, parents=True)
        environment = api.environment(self.private / "claude")
        config = f"c = get_config()\nc.SessionManager.environment = {environment!r}\n"
        replace_file(profile / "ipython_config.py", config.encode())

    def _folders(self) -> dict[str, str]:
        folders = {
            "JUPYTER_CONFIG_DIR": self.private / "config",
            "JUPYTER_DATA_DIR": self.private / "data",
            "JUPYTER_RUNTIME_DIR": self.runtime,
            "IPYTHONDIR": self.private / "ipython",
            # Where Claude Code keeps logs of each folder that it has run in, and npm what JupyterLab asks it.
            "XDG_CACHE_HOME": self.private / "cache",
            "npm_config_cache": self.private / "cache" / "npm",
        }
        return {name: str(folder) for name, folder in folders.items()}


@contextmanager
def sandbox() -> Iterator[Sandbox]:
    """Make the folders, and remove them in the end."""
    box = Sandbox(Path(tempfile.mkdtemp(prefix="claude_nb-")).resolve())
    try:
        _fill(box)
        yield box
    finally:
        shutil.rmtree(box.folder, ignore_errors=True)


def _fill(box: Sandbox) -> None:
    shutil.copytree(
        examples(), box.notebooks, ignore=shutil.ignore_patterns("*.py", "__pycache__", ".ipynb_checkpoints")
    )
    for notebook in box.notebooks.glob("*.ipynb"):
        clear_outputs(notebook)
    for name in ("claude", "config", "data", "runtime", "ipython", "cache"):
        (box.private / name).mkdir(parents=True, mode=0o700)
    settings = box.private / "config" / "lab" / "user-settings"
    for name, value in LAB_SETTINGS.items():
        file = settings / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value))


def clear_outputs(notebook: Path) -> None:
    """Leave the cells for the reader to run: what is there already cannot be seen to come."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    notebook.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def examples() -> Path:
    """The example notebooks: in the package of a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_notebooks", package.parent / "notebooks"):
        if (folder / QUICKSTART).is_file():
            return folder
    raise CommandError(
        "The example notebooks are missing from this installation. "
        "Reinstall it with `pip install --force-reinstall claude-nb`."
    )
