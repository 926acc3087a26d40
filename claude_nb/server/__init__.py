"""The Jupyter server extension: ends what killed kernels left, keeps working kernels, and tells of sessions.

- extension.py: what is done in the server's loop, and when
- watching.py: what has become of the sessions since the last look
- sweeping.py: when it is time to sweep
- handlers.py: `GET /claude-nb/api/sessions`
- session.yaml: the schema of the events

It shares only files with a kernel. Whatever fails here is logged, and the server goes on.
"""

from __future__ import annotations

from typing import Any


def _load_jupyter_server_extension(app: Any) -> None:
    """Called by the Jupyter server at its start, when `jpserver_extensions` has `claude_nb`."""
    try:
        from claude_nb.server.extension import Caretaker

        Caretaker(app).install()
    except Exception:
        app.log.exception(
            "claude_nb | the server extension could not be loaded; the server goes on without it"
        )
