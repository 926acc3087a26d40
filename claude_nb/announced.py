"""What Claude Code itself changes of a session, as it announces it: mode, model, title, conversation.

An approved plan leaves the plan mode, `/model` typed as a prompt uses another model, `/clear` begins another
conversation. Each turn begins with a message that names mode and model; what we have set ourselves is no
change. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Changes:
    """What one message says to be different now; None for what it does not speak of."""

    mode: str | None = None
    model: str | None = None
    title: str | None = None
    forgotten: bool = False


NOTHING = Changes()


class Announced:
    """What the process is known to use."""

    def __init__(self) -> None:
        self._mode: str | None = None
        self._model: str | None = None
        # Under the mode that it was said for: some models are two, one for plans.
        self._model_mode: str | None = None

    def __repr__(self) -> str:
        return f"<Announced: mode {self._mode}, model {self._model}>"

    def started(self, mode: str | None) -> None:
        """Another process is there, in this mode."""
        self._mode, self._model = mode, None

    def mode_set(self, mode: str) -> None:
        """We have set it."""
        self._mode = mode

    def model_set(self) -> None:
        """We have set another; how Claude Code calls it in full is not known."""
        self._model = None

    def heard(self, message: Any) -> Changes:
        """Return what Claude Code has changed by itself."""
        if type(message).__name__ == "ConversationResetMessage":
            return Changes(forgotten=True)
        if type(message).__name__ != "SystemMessage":
            return NOTHING
        data = message.data
        match message.subtype:
            case "init":
                mode = self._new_mode(data.get("permissionMode"))
                return Changes(mode=mode, model=self._new_model(data.get("model")))
            case "status":
                return Changes(mode=self._new_mode(data.get("permissionMode")))
            case "session_title_changed" if isinstance(data.get("title"), str):
                return Changes(title=data["title"])
        return NOTHING

    def _new_mode(self, mode: object) -> str | None:
        # Nothing but the start of a process allows everything without asking.
        if not isinstance(mode, str) or mode in (self._mode, "bypassPermissions"):
            return None
        self._mode = mode
        return mode

    def _new_model(self, model: object) -> str | None:
        if not isinstance(model, str):
            return None
        before, in_mode = self._model, self._model_mode
        self._model, self._model_mode = model, self._mode
        return model if before not in (None, model) and in_mode == self._mode else None
