"""A stand-in for Anthropic's Messages API on 127.0.0.1, which plays scripts to the real Claude Code CLI.

- conversation.py: what a request says: prompt, step, history
- script.py: the script format, and which rule answers
- auxiliary.py: Claude Code's own side requests (titles, quota probes, summaries)
- parse.py: YAML to rules, and its mistakes
- player.py: a rule's blocks as the API's events
- server.py, gate.py, handlers.py: HTTP
- environment.py: what a child process needs to talk to the server
- builtin.yaml: the script that is played when nothing else answers
"""

from __future__ import annotations

from claude_nb.offline.script import ScriptError
from claude_nb.offline.server import OfflineAPI

__all__ = ["OfflineAPI", "ScriptError"]
