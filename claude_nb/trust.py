"""Which folders' own settings, hooks and MCP servers are loaded: those that `/trust` was said for.

Opening a hostile folder must not run its code. Claude Code asks in a terminal, and keeps the answer in its
own configuration; we read that and never write it. Our own answer is kept per folder in
`<data>/trusted.json`. A folder's `permissions.allow` rules are ignored by Claude Code until it trusts the
folder itself; `/trust` says which ones those are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claude_nb.private import private_folder, replace_file
from claude_nb.transcript import config_dir, home

ALL_SOURCES = ("user", "project", "local")


_SETTINGS = (".claude/settings.json", ".claude/settings.local.json")
_MEMORY = ("CLAUDE.md", ".claude/CLAUDE.md", "CLAUDE.local.md")
_FOLDERS = (".claude/agents", ".claude/commands", ".claude/skills", ".claude/rules")
_MANAGED = Path("/etc/claude-code/managed-settings.json")


@dataclass(frozen=True)
class Rules:
    """Claude Code's rules in a file of settings."""

    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    @classmethod
    def of(cls, file: Path) -> Rules:
        """None of a file that is not there or that is no settings."""
        permissions = _read(file).get("permissions")
        lists = permissions if isinstance(permissions, dict) else {}
        return cls(*(_strings(lists.get(kind)) for kind in ("allow", "ask", "deny")))


@dataclass(frozen=True)
class FolderSettings:
    """What a folder brings of its own: files, the rules by which it would allow tools, and what it runs.

    `memory` are the files that tell Claude about the folder, `hooks` the events at which programs are run,
    `servers` the names of the MCP servers.
    """

    files: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()

    @classmethod
    def of(cls, folder: Path) -> FolderSettings:
        """What there is in the folder; nothing of it is run."""
        names = (*_SETTINGS, ".mcp.json", *_MEMORY)
        files = [name for name in names if (folder / name).is_file()]
        files += [name for name in _FOLDERS if (folder / name).is_dir()]
        return cls(
            files=tuple(files),
            rules=tuple(rule for name in _SETTINGS for rule in Rules.of(folder / name).allow),
            memory=tuple(name for name in _MEMORY if name in files),
            hooks=_keys(_read(folder / name).get("hooks") for name in _SETTINGS),
            servers=_keys([_read(folder / ".mcp.json").get("mcpServers")]),
        )


class Trusted:
    """The folders that this user trusts."""

    def __init__(self, data: Path) -> None:
        self._file = data / "trusted.json"

    def __contains__(self, folder: Path) -> bool:
        return str(folder.resolve()) in self.folders()

    def folders(self) -> list[str]:
        """All of them."""
        value = _read(self._file).get("folders")
        return [str(folder) for folder in value] if isinstance(value, list) else []

    def add(self, folder: Path) -> None:
        """Remember the folder."""
        self._write(sorted({*self.folders(), str(folder.resolve())}))

    def remove(self, folder: Path) -> None:
        """Forget it again."""
        self._write([known for known in self.folders() if known != str(folder.resolve())])

    def _write(self, folders: list[str]) -> None:
        private_folder(self._file.parent)
        replace_file(self._file, json.dumps({"folders": folders}, indent=1).encode() + b"\n")


def trusted_by_claude_code(folder: Path, environ: Mapping[str, str]) -> bool:
    """Claude Code's own dialog was accepted for the folder; read from its configuration."""
    config = config_dir(environ) if environ.get("CLAUDE_CONFIG_DIR") else home(environ)
    projects = _read(config / ".claude.json").get("projects")
    if not isinstance(projects, dict):
        return False
    # An answer holds for the folders below as well.
    for path in (folder.resolve(), *folder.resolve().parents):
        known = projects.get(str(path))
        if isinstance(known, dict) and known.get("hasTrustDialogAccepted") is True:
            return True
    return False


def user_rules(environ: Mapping[str, str]) -> Rules:
    """The rules of the user's own settings of Claude Code."""
    return Rules.of(config_dir(environ) / "settings.json")


def managed_rules() -> Rules:
    """The rules that whoever runs this machine has set for Claude Code."""
    return Rules.of(_MANAGED)


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _keys(values: Iterable[Any]) -> tuple[str, ...]:
    """The names in several objects, each once."""
    return tuple(dict.fromkeys(key for value in values if isinstance(value, dict) for key in value))


def _read(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
