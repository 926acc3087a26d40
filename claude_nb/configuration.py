"""What can be configured: the traits of `SessionManager`, with what each of them accepts."""

from __future__ import annotations

from typing import Any

from traitlets import Bool, Dict, Enum, Float, Integer, List, TraitError, Unicode, validate
from traitlets.config import Configurable

# No Claude Code gets along with less: who says 500 means megabytes.
_LEAST_MEMORY = 10_000_000


class Configuration(Configurable):
    """The traits; seconds unless something else is said."""

    model = Unicode(
        None, allow_none=True, help="Model of new sessions, as Claude Code names it; None is its own default."
    ).tag(config=True)
    effort = Enum(
        ["low", "medium", "high", "xhigh", "max"],
        default_value=None,
        allow_none=True,
        help="How much effort Claude puts into a reply; None is Claude Code's default.",
    ).tag(config=True)
    append_system_prompt = Unicode("", help="Text added to the end of Claude Code's own system prompt.").tag(
        config=True
    )
    permission_mode = Enum(
        ["default", "plan", "acceptEdits"], default_value="default", help="Claude Code's permission mode."
    ).tag(config=True)
    mcp_servers = Dict(
        help="MCP servers, as in Claude Code's `.mcp.json`: {name: {command, args, env}}."
    ).tag(config=True)
    add_dirs = List(Unicode(), help="Further folders that Claude may work in.").tag(config=True)
    cli_path = Unicode(
        None, allow_none=True, help="The Claude Code CLI; None is the one that claude-agent-sdk brings."
    ).tag(config=True)
    setting_sources = List(
        Enum(["user", "project", "local"]),
        default_value=["user"],
        help="Which of Claude Code's settings files are loaded. A project's can run its own programs.",
    ).tag(config=True)
    environment = Dict(
        key_trait=Unicode(), value_trait=Unicode(), help="Variables added to Claude Code's environment."
    ).tag(config=True)
    output_mode = Enum(
        ["quiet", "normal", "verbose"],
        default_value="normal",
        help="How tool calls are shown: not at all, folded, or whole.",
    ).tag(config=True)
    idle_timeout = Float(
        600.0, help="Seconds without work after which a session is suspended: 60 to 7200, 0 is never."
    ).tag(config=True)
    interrupt_timeout = Float(
        5.0, help="Seconds that an interrupted turn gets to end before its process is ended."
    ).tag(config=True)
    stop_timeout = Float(
        5.0, help="Seconds that a process gets to end by itself before it is terminated."
    ).tag(config=True)
    stall_warning = Float(
        30.0,
        help="Seconds without a word of Claude's after which a run that nobody watches, as with nbconvert, "
        "says so on stderr; 0 is never.",
    ).tag(config=True)
    drain_timeout = Float(
        60.0, help="Seconds that running turns get to end when the manager is shut down."
    ).tag(config=True)
    max_restarts = Integer(
        3, help="How often a session whose process dies in mid-turn is restarted, until a turn goes well."
    ).tag(config=True)
    max_live = Integer(15, help="How many processes there may be at a time.").tag(config=True)
    max_memory = Integer(
        None,
        allow_none=True,
        help="Bytes that the processes of one session may take: above it an idle session is suspended, and "
        "the reader of a turn is warned. None is any number.",
    ).tag(config=True)
    continue_after_restart = Bool(
        True, help="Continue the notebook's own conversation after a restart of the kernel."
    ).tag(config=True)
    permission_policy = Enum(
        ["ask", "deny", "allow_reads"],
        default_value="ask",
        help="What becomes of a tool that no rule allows: ask, deny, or ask but allow those that only read.",
    ).tag(config=True)
    context_budget = Integer(
        2000, help="Tokens of what happened in the notebook that go along with a prompt; 0 is nothing."
    ).tag(config=True)
    keep_loop_running = Bool(
        False, help="Let the user's own asyncio tasks go on while a cell waits for Claude (nest-asyncio2)."
    ).tag(config=True)

    @validate("interrupt_timeout", "stop_timeout", "drain_timeout", "stall_warning")
    def _not_negative(self, proposal: Any) -> float:
        name, value = proposal["trait"].name, proposal["value"]
        if value < 0:
            raise TraitError(f"{name} is in seconds and cannot be negative; 5 is a good value.")
        return float(value)

    @validate("idle_timeout")
    def _sensible_idle_timeout(self, proposal: Any) -> float:
        return check_idle_timeout(proposal["value"])

    @validate("max_memory")
    def _sensible_memory(self, proposal: Any) -> int | None:
        value: int | None = proposal["value"]
        if value is not None and value < _LEAST_MEMORY:
            raise TraitError("max_memory is in bytes: 2_000_000_000 is 2 GB. None is any number.")
        return value

    @validate("max_restarts", "max_live", "context_budget")
    def _sensible_number(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, int(proposal["value"])
        least = 1 if name == "max_live" else 0
        if value < least:
            raise TraitError(f"{name} is a number of {least} or more.")
        return value


def check_idle_timeout(seconds: float) -> float:
    """Seconds of an idle timeout. Raises `TraitError` for what cannot be meant."""
    seconds = float(seconds)
    if seconds != 0 and not 60 <= seconds <= 7200:
        raise TraitError("idle_timeout is in seconds, from 60 (1 min) to 7200 (2 h); 0 is never.")
    return seconds
