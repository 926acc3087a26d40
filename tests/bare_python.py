"""A Python of this environment without some of its packages: what is said where they are missing?"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Collection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class BarePython:
    """Links to what is installed, but for the packages named in `without`; `site` is not run."""

    def __init__(self, folder: Path, *, without: Collection[str]) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        for installed in Path(sysconfig.get_path("purelib")).iterdir():
            if installed.name.partition(".")[0].partition("-")[0] not in without:
                (folder / installed.name).symlink_to(installed)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        path = os.pathsep.join((str(ROOT), str(self.folder)))
        return subprocess.run(
            [sys.executable, "-S", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": path, **environment},
        )
