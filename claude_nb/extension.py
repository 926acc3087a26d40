"""Load into a shell and unload again, leaving it as it was found; and the one manager of this process."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from claude_nb import verbatim
from claude_nb.kernel.ending import ShutdownHook
from claude_nb.kernel.last import LastOfAll
from claude_nb.kernel.warm import Warmer
from claude_nb.magics import ClaudeMagics
from claude_nb.same_cell import TAKEN_APART, read_again
from claude_nb.session_manager import SessionManager

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


@dataclass
class _Loaded:
    """What was added to a shell, to be taken away again."""

    shell: InteractiveShell
    magics: ClaudeMagics
    warmer: Warmer
    matcher: Any
    hook: ShutdownHook | None
    last: LastOfAll


_manager: SessionManager | None = None
_loaded: _Loaded | None = None
_lock = threading.Lock()


def the_manager(shell: Any = None) -> SessionManager:
    """The manager of this process, made if there is none or if it was shut down."""
    global _manager
    with _lock:
        if _manager is None or _manager.closed:
            _manager = SessionManager(parent=shell or _running_shell())
        return _manager


def load(shell: InteractiveShell) -> None:
    """Add the magics; twice is as good as once."""
    global _loaded
    if _loaded is not None and _loaded.shell is shell:
        return
    manager = the_manager(shell)
    magics = ClaudeMagics(shell, manager)
    shell.register_magics(magics)
    verbatim.install(shell)
    matcher = _make_matcher(manager)
    shell.Completer.custom_matchers.append(matcher)
    shell.configurables.append(manager)  # type: ignore[arg-type]
    manager.surroundings.install()
    warmer, hook = Warmer(shell, lambda: _prepare(manager)), _hook(shell, manager)
    _loaded = _Loaded(shell, magics, warmer, matcher, hook, LastOfAll())
    _loaded.warmer.start()
    if not read_again(shell):
        print(TAKEN_APART)
        magics.refuse_this_cell()


def unload(shell: InteractiveShell) -> None:
    """Take away what `load` added and end this kernel's sessions; their conversations stay.

    Raises `SessionBusy` in code that Claude runs, which would wait for itself.
    """
    global _loaded
    if _loaded is None or _loaded.shell is not shell:
        return
    _loaded.magics.manager.refuse_in_own_tool()
    loaded, _loaded = _loaded, None
    loaded.warmer.stop()
    loaded.last.give_up()
    if loaded.hook is not None:
        loaded.hook.remove()
    verbatim.uninstall(shell)
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("claude", None)
    shell.magics_manager.registry.pop(type(loaded.magics).__name__, None)
    shell.Completer.custom_matchers.remove(loaded.matcher)
    manager = loaded.magics.manager
    manager.surroundings.remove()
    configurables: list[Any] = shell.configurables
    if manager in configurables:
        configurables.remove(manager)
    manager.shutdown("the extension was unloaded")


def _prepare(manager: SessionManager) -> None:
    """While nobody waits: import what a first prompt needs and loading has left out, and sweep."""
    import claude_nb.commands
    import claude_nb.keeper
    import claude_nb.session  # noqa: F401

    manager.sweep()


def _make_matcher(manager: SessionManager) -> Any:
    """For Tab, whose rules are not needed for loading, which is to be quick."""
    from IPython.core.completer import CompletionContext, context_matcher

    @context_matcher()  # type: ignore[untyped-decorator]
    def claude_matcher(context: CompletionContext) -> dict[str, Any]:
        """Called by IPython for each Tab."""
        from claude_nb.completion import complete

        return complete(manager, context)

    return claude_matcher


def _hook(shell: Any, manager: SessionManager) -> ShutdownHook | None:
    kernel = getattr(shell, "kernel", None)
    if kernel is None:  # a terminal: the interpreter's exit is all there is
        return None
    hook = ShutdownHook(kernel, manager.shutdown_kernel)
    hook.install()
    return hook


def _running_shell() -> Any:
    from IPython.core.getipython import get_ipython

    return get_ipython()


def _forget_in_child() -> None:
    """A forked worker has neither the portal's thread nor the processes: they are its parent's."""
    global _manager, _loaded, _lock
    _manager, _loaded, _lock = None, None, threading.Lock()


os.register_at_fork(after_in_child=_forget_in_child)
