"""ClaudeProcess: one live Claude Code process, from its start to its end, through the vendor's SDK.

The SDK speaks the protocol (one JSON document a line) and starts what `cli_path` names. We name a small
shim there: it becomes the guard, and the guard becomes the CLI's parent (see `guard.py`). So the kernel
gets the lifecycle it needs without any private part of the SDK.

One task connects, serves and disconnects, because the SDK's scopes must not cross tasks. A second task
reads, for the whole life of the process: a client that reads "until the next result" per prompt would
hand every later reply to the wrong prompt once Claude Code starts a turn of its own.

    run(): connect ── ready ── messages ... ── stop asked, or stdout ends ── disconnect ── ended
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import logging
import os
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from claude_nb import guard, launch
from claude_nb.errors import ClaudeNbError
from claude_nb.failures import failed_to_start, not_answering, process_ended
from claude_nb.private import private_folder, replace_file
from claude_nb.processes import end_left_over
from claude_nb.shadows import need_sdk
from claude_nb.sweep import sign
from claude_nb.watch import watched

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, Message

log = logging.getLogger(__name__)
_T = TypeVar("_T")

# An image in a tool result is one line of base64; 64 MB is promised, the rest is the envelope.
MAX_LINE = 80 * 1024 * 1024
# Claude Code answers an interrupt request within 20 ms; one that takes this long will not answer.
_CONTROL_TIMEOUT = 5.0
# Seconds between two looks for a guard that is being started; it takes some 20 ms.
_GUARD_APPEARS = 0.05
# What a failing CLI says last is what explains it; all of it would be a leak of memory.
_STDERR_LINES = 50


@dataclass(frozen=True)
class Launch:
    """How to start a session's process. Byte-identical across suspend and resume but for `resume`."""

    session_id: str
    resume: bool
    cwd: Path
    lock: Path | None = None
    cli_path: str | None = None
    model: str | None = None
    agent: str | None = None
    effort: str | None = None
    append_system_prompt: str | None = None
    permission_mode: str | None = None
    setting_sources: Sequence[str] = ("user",)
    add_dirs: Sequence[str] = ()
    mcp_servers: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    # Claude Code's settings that go with this session, such as the rules that were allowed in it.
    settings: Mapping[str, Any] | None = None
    # Makes the MCP server that gives Claude the kernel; called where the SDK is imported.
    kernel_server: Callable[[], Any] | None = None
    stop_timeout: float = 5.0


@dataclass(frozen=True)
class Answer:
    """Whether a tool may run; `reason` is what Claude reads when it may not, `told` what the reader does;
    where that is empty nobody has refused it, and the turn is ended.

    `input` replaces the tool's own, `updates` are rules that Claude Code shall follow from now on.
    """

    allowed: bool
    reason: str = ""
    told: str = ""
    input: dict[str, Any] | None = None
    updates: Sequence[Any] = ()


OnMessage = Callable[["Message"], None]
OnTool = Callable[[str, dict[str, Any], Any], Awaitable[Answer]]


class ClaudeProcess:
    """One Claude Code process behind its guard.

    `run` is its life; `ready` is done once it answers (or holds the exception that kept it from it),
    `ended` is set when nothing of it is left. All of it belongs to the portal's loop.
    """

    def __init__(self, how: Launch, runtime: Path, *, on_message: OnMessage, on_tool: OnTool) -> None:
        self.how = how
        self.marker = uuid.uuid4().hex
        self.folder = runtime / self.marker
        self.stderr: collections.deque[str] = collections.deque(maxlen=_STDERR_LINES)
        self.ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()
        self.returncode: int | None = None
        self._on_message = on_message
        self._on_tool = on_tool
        self._stop = asyncio.Event()
        # It has ended, or is being ended: what is asked of it now is not answered any more.
        self._over = asyncio.Event()
        self._client: ClaudeSDKClient | None = None

    def __repr__(self) -> str:
        if self.ended.is_set():
            return f"<ClaudeProcess ended with status {self.returncode}>"
        return f"<ClaudeProcess {self.guard_state()!r}>" if self.ready.done() else "<ClaudeProcess starting>"

    # -- life ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, serve until told to stop or the process ends, disconnect. Does not raise."""
        try:
            client = await self._connect()
        except Exception as error:  # whatever keeps it from starting is the prompt's answer
            await self._see_to_the_rest()
            self._fail_start(error)
        else:
            await self._serve(client)
        finally:
            self._over.set()
            self._remove_files()
            self.ended.set()

    async def _connect(self) -> ClaudeSDKClient:
        await asyncio.to_thread(need_sdk)
        from claude_agent_sdk import ClaudeSDKClient

        client = ClaudeSDKClient(self._options(self._prepare_files()))
        try:
            # The SDK waits for a minute for the answer of a CLI that has left without a word.
            async with asyncio.timeout(None) as until_it_ends:
                watching = asyncio.create_task(self._watch_start(until_it_ends))
                try:
                    await client.connect()
                finally:
                    watching.cancel()
        except BaseException:
            await client.disconnect()
            raise
        self._client = client
        self.ready.set_result(await client.get_server_info() or {})
        return client

    async def _watch_start(self, until_it_ends: asyncio.Timeout) -> None:
        """End the wait for the first answer once there is nobody who could give it."""
        state = self.guard_state()
        while state is None:
            await asyncio.sleep(_GUARD_APPEARS)
            state = self.guard_state()
        with watched(state.guard) as gone:
            await gone.wait()
        until_it_ends.reschedule(asyncio.get_running_loop().time())

    def _fail_start(self, error: Exception) -> None:
        log.info("Claude Code did not start: %s", error)
        failure: ClaudeNbError
        if isinstance(error, ClaudeNbError):
            failure = error
        elif self._stop.is_set():
            failure = process_ended(self.returncode, self.stderr)
        else:
            failure = failed_to_start(error, self.stderr, self.how, self.returncode)
        self.ready.set_exception(failure)
        self.ready.exception()  # looked at: a session that was stopped meanwhile never asks for it

    async def _serve(self, client: ClaudeSDKClient) -> None:
        reader = asyncio.create_task(self._read(client))
        await self._until_over(reader)
        self._client = None
        await self._disconnect(client)
        with contextlib.suppress(asyncio.CancelledError):
            await reader
        await self._see_to_the_rest()

    async def _until_over(self, reader: asyncio.Task[None]) -> None:
        """Until we are told to stop, the output ends, or the guard is gone."""
        state = self.guard_state()
        stop = asyncio.create_task(self._stop.wait())
        with watched(state.guard) if state else contextlib.nullcontext(asyncio.Event()) as guard_gone:
            gone = asyncio.create_task(guard_gone.wait())
            await asyncio.wait({reader, stop, gone}, return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
        stop.cancel()
        self._over.set()
        # A killed guard's descendants may hold the pipes that the SDK waits for.
        await self._see_to_the_rest()

    async def _see_to_the_rest(self) -> None:
        """End what a guard has left that was itself killed; normally nothing."""
        state = self.guard_state()
        if state is None:
            return
        self.returncode = state.status
        if state.phase != "ended" and not state.guarded:
            ended = await asyncio.to_thread(
                end_left_over, state.marker, self.folder / "ledger.json", known=[state.cli]
            )
            log.warning("the guard of %s was killed; %d processes of it were ended", state.marker, len(ended))

    async def _disconnect(self, client: ClaudeSDKClient) -> None:
        """stdin EOF, `stop_timeout`, then SIGTERM to the guard, whose ladder ends in SIGKILL."""
        impatience = asyncio.get_running_loop().call_later(self.how.stop_timeout, self._terminate)
        try:
            await client.disconnect()
        finally:
            impatience.cancel()

    async def _read(self, client: ClaudeSDKClient) -> None:
        try:
            async for message in resilient_messages(client):
                try:
                    self._on_message(message)
                except Exception:
                    log.exception("a message of type %s could not be used", type(message).__name__)
        except Exception as error:  # the stream is over; what it says goes with the stderr tail
            log.info("Claude Code's output ended: %s", error)

    def request_stop(self) -> None:
        """Ask for the orderly end: stdin EOF, then the guard's ladder. `ended` says when it is over."""
        self._stop.set()
        if not self.ready.done():  # it has not said a word yet, so there is nothing to lose
            self._terminate()

    def kill(self) -> None:
        """End it at once: the guard kills every descendant."""
        self._signal_guard(signal.SIGUSR1)
        self.request_stop()

    def _terminate(self) -> None:
        self._signal_guard(signal.SIGTERM)

    def _signal_guard(self, number: signal.Signals) -> None:
        """SIGTERM begins the guard's ladder, SIGUSR1 goes straight to its end."""
        state = self.guard_state()
        if state is not None and state.guarded:
            # Our own child: its pid cannot become another's before it is reaped.
            os.kill(state.guard.pid, number)

    def leave_files_to_guard(self) -> None:
        """The kernel ends, before its guard or after it: the last of the two removes the files."""
        with contextlib.suppress(OSError):
            (self.folder / guard.ABANDONED).touch(mode=0o600)
        state = self.guard_state()
        if state is not None and state.phase == "ended":  # it may have looked before the file was there
            self._remove_files()

    # -- talking ------------------------------------------------------------------------------

    async def query(self, content: Sequence[Mapping[str, Any]], prompt_id: str) -> None:
        """Write one prompt; its echo and its result carry `prompt_id`.

        Raises `ProcessDied` when there is nobody any more to read it.
        """
        client = self._talking()
        try:
            await client.query(_one(_user_message(content, prompt_id)))
        except Exception as error:
            raise process_ended(self.returncode, self.stderr) from error

    async def interrupt(self) -> bool:
        """Ask the turn to end; whether Claude Code has acknowledged it."""
        try:
            await self._answered("end the turn", lambda client: client.interrupt())
        except Exception as error:
            log.info("the interrupt was not acknowledged: %r", error)
            return False
        return True

    async def set_model(self, model: str | None) -> None:
        """Use another model from the next prompt on; None is Claude Code's default.

        Raises, as the methods below, `ProcessDied`, `NotAnswering`, and an `Exception` with Claude Code's
        own words where it refuses.
        """
        await self._answered(f"use the model {model!r}", lambda client: client.set_model(model))

    async def set_permission_mode(self, mode: str) -> None:
        """Use another permission mode from now on."""
        await self._answered(
            f"use the mode {mode!r}",
            lambda client: client.set_permission_mode(mode),  # type: ignore[arg-type]
        )

    async def context_usage(self) -> Mapping[str, Any]:
        """Return how full the context is, as Claude Code's `/context` says."""
        return await self._answered("say how full its context is", lambda client: client.get_context_usage())

    def _talking(self) -> ClaudeSDKClient:
        if self._client is None or self._over.is_set():
            raise process_ended(self.returncode, self.stderr)
        return self._client

    async def _answered(self, what: str, request: Callable[[ClaudeSDKClient], Coroutine[Any, Any, _T]]) -> _T:
        """Return the answer to a control request, unless the process ends or the time is over before."""
        asking = asyncio.create_task(request(self._talking()))
        over = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait({asking, over}, timeout=_CONTROL_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return self._told(asking)
            if over.done():
                raise process_ended(self.returncode, self.stderr)
            raise not_answering(what, _CONTROL_TIMEOUT)
        finally:
            asking.cancel()
            over.cancel()

    def _told(self, answer: asyncio.Task[_T]) -> _T:
        from claude_agent_sdk import ClaudeSDKError

        try:
            return answer.result()
        except ClaudeSDKError as error:  # of the pipes; what Claude Code refuses with is a plain Exception
            raise process_ended(self.returncode, self.stderr) from error

    async def mcp_status(self) -> Mapping[str, Any]:
        """How each MCP server is, and why."""
        assert self._client is not None
        return await asyncio.wait_for(self._client.get_mcp_status(), _CONTROL_TIMEOUT)

    # -- what it is started with --------------------------------------------------------------

    def guard_state(self) -> launch.GuardState | None:
        """What the guard says of itself and of the CLI; None before it has said anything."""
        return launch.GuardState.read(self.folder / "state.json")

    def _prepare_files(self) -> Path:
        cli = launch.find_cli(self.how.cli_path)
        private_folder(self.folder.parent)
        private_folder(self.folder)
        sign(self.folder)
        return launch.write_shim(
            self.folder,
            cli_path=cli,
            kernel_pid=os.getpid(),
            marker=self.marker,
            state=self.folder / "state.json",
            ledger=self.folder / "ledger.json",
            lock=self.how.lock,
            unset=launch.scrubbed_names(os.environ, keep=self.how.environment),
        )

    def _remove_files(self) -> None:
        for file in self.folder.glob("*"):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _options(self, shim: Path) -> ClaudeAgentOptions:
        from claude_agent_sdk import ClaudeAgentOptions

        how = self.how
        identity = {"resume": how.session_id} if how.resume else {"session_id": how.session_id}
        return ClaudeAgentOptions(
            **identity,  # type: ignore[arg-type]
            cli_path=shim,
            cwd=how.cwd,
            env=dict(how.environment),
            model=how.model,
            effort=how.effort,  # type: ignore[arg-type]
            permission_mode=how.permission_mode,  # type: ignore[arg-type]
            system_prompt={"type": "preset", "preset": "claude_code"},
            setting_sources=list(how.setting_sources),  # type: ignore[arg-type]
            add_dirs=list(how.add_dirs),
            mcp_servers={"kernel": how.kernel_server()} if how.kernel_server else {},
            settings=self._settings_file(),
            include_partial_messages=True,
            include_hook_events=True,  # why a hook has stopped a turn is said nowhere else
            can_use_tool=self._can_use_tool,
            max_buffer_size=MAX_LINE,
            stderr=self.stderr.append,
            extra_args=self._extra_args(),
        )

    def _extra_args(self) -> dict[str, str | None]:
        """`replay-user-messages` echoes each prompt where its turn begins."""
        arguments: dict[str, str | None] = {"replay-user-messages": None}
        if self.how.agent:
            arguments["agent"] = self.how.agent
        if self.how.append_system_prompt:
            file = self._write_private("system-prompt.md", self.how.append_system_prompt)
            arguments["append-system-prompt-file"] = str(file)
        if self.how.mcp_servers:
            # They have tokens in their environment and headers: a private file, not the command line.
            servers = {"mcpServers": dict(self.how.mcp_servers)}
            arguments["mcp-config"] = str(self._write_private("mcp.json", json.dumps(servers)))
        return arguments

    def _settings_file(self) -> str | None:
        if not self.how.settings:
            return None
        return str(self._write_private("settings.json", json.dumps(dict(self.how.settings))))

    def _write_private(self, name: str, text: str) -> Path:
        file = self.folder / name
        replace_file(file, text.encode("utf-8", "surrogateescape"))
        return file

    async def _can_use_tool(self, name: str, tool_input: dict[str, Any], context: Any) -> Any:
        from claude_agent_sdk import PermissionResultAllow, PermissionResultDeny

        answer = await self._on_tool(name, tool_input, context)
        if answer.allowed:
            return PermissionResultAllow(
                updated_input=tool_input if answer.input is None else answer.input,
                updated_permissions=list(answer.updates) or None,
            )
        return PermissionResultDeny(message=answer.reason)


async def resilient_messages(client: ClaudeSDKClient) -> AsyncIterator[Message]:
    """The client's messages; one that the SDK cannot parse is logged and skipped."""
    from claude_agent_sdk import ClaudeSDKError

    while True:
        try:
            async for message in client.receive_messages():
                yield message
            return
        except ClaudeSDKError as error:
            # Not public by name. It ends the SDK's generator, not its stream: the next message is there.
            if type(error).__name__ != "MessageParseError":
                raise
            log.warning("a message from Claude Code was skipped: %s", error)


def _user_message(content: Sequence[Mapping[str, Any]], prompt_id: str) -> dict[str, Any]:
    return {
        "type": "user",
        "message": {"role": "user", "content": [dict(block) for block in content]},
        "parent_tool_use_id": None,
        "uuid": prompt_id,
    }


async def _one(message: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    yield message
