"""The hook in a kernel's shutdown. Pure."""

from __future__ import annotations

import pytest

from claude_nb.kernel.ending import ShutdownHook


class Kernel:
    """What of a kernel the hook takes."""

    def do_shutdown(self, restart: bool) -> dict[str, object]:
        return {"status": "ok", "restart": restart}


def test_a_kernel_always_answers_and_is_left_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    def fail(reason: str) -> None:
        raise OSError(reason)

    kernel = Kernel()
    hook = ShutdownHook(kernel, fail)
    hook.install()
    assert kernel.do_shutdown(True) == {"status": "ok", "restart": True}
    assert "kernel restart" in caplog.text
    hook.remove()
    assert not vars(kernel)
