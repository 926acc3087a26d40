"""The very end of a kernel that has imported the SDK: quick, and without anything of the user's lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from kernel_kit import running_kernel

from claude_nb.offline import OfflineAPI

pytestmark = pytest.mark.kernel

# Things of the user's that are there to the end: in the namespace, and in a module of their own.
CELL = """
import gc, sys, types

class Circle:
    def __init__(self, name):
        self.myself = self
        self.file = open(name, "w")
        self.file.write("written")

class Witness:
    def __del__(self, open=open, frozen=gc.get_freeze_count):
        with open("frozen", "w") as file:
            file.write(str(frozen()))

circle = Circle("namespace")
module = sys.modules["theirs"] = types.ModuleType("theirs")
module.circle = Circle("module")
module.witness = Witness()
del module
"""


@pytest.mark.parametrize("unloaded", [False, True], ids=["loaded", "unloaded"])
def test_the_sdk_is_not_taken_apart_at_the_end_and_what_the_user_wrote_is_in_the_files(
    unloaded: bool, api: OfflineAPI, tmp_path: Path
) -> None:
    with running_kernel(tmp_path) as kernel:
        cell = kernel.run(f"%claude ECHO x\n{CELL}")
        assert cell.error is None, cell.shown_error
        if unloaded:
            kernel.run("%unload_ext claude_nb")
        kernel.client.shutdown()
        kernel.manager.provisioner.process.wait(60)  # type: ignore[union-attr]
    assert (int((tmp_path / "frozen").read_text()) > 0) is not unloaded
    assert (tmp_path / "namespace").read_text() == "written"
    assert (tmp_path / "module").read_text() == "written"


def test_a_kernel_that_never_needed_the_sdk_ends_as_ever(api: OfflineAPI, tmp_path: Path) -> None:
    with running_kernel(tmp_path) as kernel:
        # The import begins when no cell has run for a moment.
        kernel.run(CELL + "\nget_ipython().events.callbacks['post_run_cell'].clear()")
        kernel.client.shutdown()
        kernel.manager.provisioner.process.wait(60)  # type: ignore[union-attr]
    assert (tmp_path / "frozen").read_text() == "0"
