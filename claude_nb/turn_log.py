"""TurnLog: the blocks of a turn under way, built by applying Claude Code's messages.

No I/O and no clock: the session applies each message with the time it came, readers take what is there.

Claude Code tells a turn twice. *Stream events* carry the API's own deltas, token by token; then an
*assistant message* repeats each finished block whole. So a block is opened and grown by events and
settled by the message that repeats it; a CLI that sends no events still gives every block. Tool results
come as *user messages*. What carries a `parent_tool_use_id` belongs to a subagent: its tools are listed
under the tool use that started it, its text is not the reply's.

An *attempt* that breaks is made again: Claude Code forgets the blocks of it that it has not told whole, and
so are they here as soon as the next attempt begins. What Claude Code says to the person stands as a notice
between the blocks (`notices.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from claude_nb.notices import NO_RESPONSE, ending_notice, hook_words, refusal, told_by
from claude_nb.reply import (
    Block,
    NoticeBlock,
    PrintedBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolState,
    ToolUseBlock,
    Usage,
    result_images,
    result_text,
)

_Grows = TypeVar("_Grows", TextBlock, ThinkingBlock)
_Any = TypeVar("_Any", TextBlock, ThinkingBlock, ToolUseBlock)


class TurnLog:
    """The blocks of a turn under way and what the turn is doing now.

    `activity` is a phrase for the reader ("thinking", "writing", "running Bash"), `notice` a sentence
    about trouble that Claude Code is dealing with, or None.
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.activity = "waiting for Claude"
        self.notice: str | None = None
        self.usage = Usage()
        # The turn's own; the session knows it, since Claude Code tells the conversation's total.
        self.cost_usd: float | None = None
        self.model: str | None = None
        self.first_token: float | None = None
        self.last_message: float | None = None
        self.retries: list[int | None] = []
        # Tool calls that have ended since somebody looked, those of subagents too.
        self.ended_tools: list[ToolUseBlock] = []
        self._open: TextBlock | ThinkingBlock | ToolUseBlock | None = None
        self._open_tokens = 0
        self._unsettled: list[TextBlock | ThinkingBlock | ToolUseBlock] = []
        self._tools: dict[str, ToolUseBlock] = {}
        # Why a hook has refused the prompt, which then never reached Claude.
        self.refused: str | None = None
        self._message: str | None = None
        # By the id of each message: the blocks that it told whole.
        self._told: dict[str, list[Block]] = {}
        # What becomes of a tool that comes to no good end.
        self._failed: ToolState = "failed"
        self._printed = ""
        self._answered = ""
        self._synthetic = ""
        self._hook_said = ""

    @property
    def text(self) -> str:
        """What Claude has written so far."""
        return "\n\n".join(block.text for block in self.blocks if isinstance(block, TextBlock) and block.text)

    @property
    def last_text(self) -> str:
        """The last block of text, as Claude Code records it; "" if the turn did not end with Claude's."""
        said = [block for block in self.blocks if not isinstance(block, NoticeBlock)]
        last = said[-1] if said and not self._answered else None
        return last.text if isinstance(last, TextBlock) else ""

    @property
    def refusals(self) -> int:
        """How often the API has refused the credentials in the request under way."""
        return sum(status in (401, 403) for status in self.retries)

    @property
    def tokens(self) -> int:
        """Output tokens so far, for a status line."""
        return self.usage.output_tokens + self._open_tokens

    def apply(self, message: Any, now: float) -> list[Block]:
        """Take in one of the SDK's messages, which came at `now` (monotonic seconds).

        Returns the blocks that it completed.
        """
        if getattr(message, "subtype", "") != "api_retry":  # by which Claude Code says that nothing has come
            self.last_message = now
        handler = _HANDLERS.get(type(message).__name__)
        return handler(self, message, now) if handler else []

    def settle(self, now: float) -> list[Block]:
        """The turn is over: nothing grows any more. Tools without a result have failed."""
        for tool in self._tools.values():
            if tool.state == "running":
                tool.state = self._failed
                tool.seconds = now - tool.started
                self.ended_tools.append(tool)
        unfinished = [block for block in self.blocks if not block.done]
        for block in unfinished:
            block.done = True
        self._open = None
        return list(unfinished)

    # -- stream events ------------------------------------------------------------------------

    def _stream_event(self, message: Any, now: float) -> list[Block]:
        if message.parent_tool_use_id is not None:
            return []
        event = message.event
        match event.get("type"):
            case "content_block_delta":
                self._delta(event["delta"], now)
            case "content_block_start":
                self._start_block(event["content_block"], now)
            case "message_start":
                self.notice = None
                self.retries.clear()
                self._abandon()
                self._message = event["message"].get("id")
                return self._tell_synthetic()
            case "message_delta":
                self._open_tokens = 0
                self._count(event.get("usage") or {})
        return []

    def _start_block(self, start: dict[str, Any], now: float) -> None:
        opened: TextBlock | ThinkingBlock | ToolUseBlock
        match start.get("type"):
            case "text":
                opened, self.activity = TextBlock(start.get("text", "")), "writing"
            case "thinking":
                opened, self.activity = ThinkingBlock(start.get("thinking", "")), "thinking"
            case "tool_use":
                opened = ToolUseBlock(start["id"], start["name"], started=now)
                self._tools[opened.id] = opened
                self.activity = f"preparing {opened.name}"
            case _:
                self._open = None
                return
        self._open = opened
        self._unsettled.append(opened)
        self.blocks.append(opened)

    def _delta(self, delta: dict[str, Any], now: float) -> None:
        if self.first_token is None:
            self.first_token = now
        self._open_tokens += 1
        kind = delta.get("type")
        block = self._open
        if kind == "text_delta" and isinstance(block, TextBlock):
            block.grow(delta["text"])
        elif kind == "thinking_delta" and isinstance(block, ThinkingBlock):
            block.grow(delta["thinking"])

    def _count(self, usage: dict[str, Any]) -> None:
        self.usage.output_tokens += int(usage.get("output_tokens") or 0)

    # -- whole messages -----------------------------------------------------------------------

    def _assistant(self, message: Any, now: float) -> list[Block]:
        if message.parent_tool_use_id is not None:
            self._subagent(message, now)
            return []
        if message.model == "<synthetic>":  # Claude Code's own words; the result may say them too
            self._synthetic = " ".join(part.text for part in message.content if hasattr(part, "text"))
            return []
        if message.message_id is not None and message.message_id != self._message:
            self._abandon()  # asked again without a stream
            self._message = message.message_id
        self.model = message.model
        said = [done for part in message.content if (done := self._settle_part(part, now)) is not None]
        self._told.setdefault(message.uuid or "", []).extend(said)
        return said

    def _abandon(self) -> None:
        """The attempt has come to nothing; Claude Code keeps of it what it has told whole."""
        for block in self._unsettled:
            self._take_back(block)
        self._unsettled.clear()
        self._open, self._open_tokens = None, 0

    def _take_back(self, block: Block) -> None:
        # A new list: other threads walk through the old one.
        self.blocks = [other for other in self.blocks if other is not block]
        if isinstance(block, ToolUseBlock):
            self._tools.pop(block.id, None)

    def _settle_part(self, part: Any, now: float) -> Block | None:
        match type(part).__name__:
            case "TextBlock":
                text = self._unsettled_of(TextBlock) or self._append(TextBlock())
                text.settle(part.text)
                return text
            case "ThinkingBlock":
                thinking = self._unsettled_of(ThinkingBlock) or self._append(ThinkingBlock())
                thinking.settle(part.thinking)
                return thinking
            case "ToolUseBlock" | "ServerToolUseBlock":
                return self._tool_use(part, now)
        return None

    def _unsettled_of(self, kind: type[_Grows]) -> _Grows | None:
        for block in self._unsettled:
            if isinstance(block, kind):
                self._unsettled.remove(block)
                return block
        return None

    def _append(self, block: _Any) -> _Any:
        self.blocks.append(block)
        return block

    def _tool_use(self, part: Any, now: float) -> ToolUseBlock:
        tool = self._tools.get(part.id)
        if tool is None:
            tool = self._append(ToolUseBlock(part.id, part.name, started=now))
            self._tools[tool.id] = tool
        elif tool in self._unsettled:
            self._unsettled.remove(tool)
        tool.input, tool.started, tool.done = part.input, now, True
        self.activity = f"running {tool.name}"
        return tool

    def _subagent(self, message: Any, now: float) -> None:
        parent = self._tools.get(message.parent_tool_use_id)
        for part in message.content:
            if type(part).__name__ == "ToolUseBlock":
                inner = ToolUseBlock(part.id, part.name, part.input, started=now, done=True)
                self._tools[inner.id] = inner
                if parent is not None:  # else it works in the background, for an earlier turn
                    parent.inner.append(inner)

    def _user(self, message: Any, now: float) -> list[Block]:
        if isinstance(message.content, str):
            # A compaction repeats what earlier commands have printed.
            for printed in _COMMAND_OUTPUT.findall(message.content):
                self._printed = printed
            return []
        results: list[Block] = []
        for part in message.content:
            if type(part).__name__ == "TextBlock" and part.text.startswith(_CUT_OFF):
                words = "The connection to the API broke here, and Claude was asked to go on."
                results += self.tell(NoticeBlock(words, "cut_off", "warning"))
            if type(part).__name__ == "ToolResultBlock":
                result = self._tool_result(part, now)
                if message.parent_tool_use_id is None:
                    self.blocks.append(result)
                    results.append(result)
        self._told.setdefault(message.uuid or "", []).extend(results)
        return results

    def _tool_result(self, part: Any, now: float) -> ToolResultBlock:
        result = ToolResultBlock(
            part.tool_use_id, result_text(part.content), bool(part.is_error), result_images(part.content)
        )
        tool = self._tools.get(part.tool_use_id)
        if tool is not None:
            if tool.state == "running":  # a refusal was marked when it was given
                tool.state = self._failed if result.is_error else "ok"
            tool.result = result.content
            tool.seconds = now - tool.started
            self.ended_tools.append(tool)
        self.activity = "waiting for Claude"
        return result

    def cost(self, dollars: float | None) -> None:
        """What the turn has cost by itself."""
        self.cost_usd = dollars

    def waited(self, tool_use_id: str | None, seconds: float) -> None:
        """The tool call waited so long to be allowed, which is not its own time."""
        tool = self._tools.get(tool_use_id or "")
        if tool is not None:
            tool.started += seconds

    def interrupt(self) -> None:
        """The turn is asked to end: a tool that comes to no good end from now on was interrupted."""
        self._failed = "interrupted"

    @property
    def runs_tool(self) -> bool:
        """A tool is at work, which may take long without a word."""
        return any(tool.done and tool.state == "running" for tool in self._tools.values())

    def refuse(self, tool_use_id: str | None, why: str) -> None:
        """The tool call was not allowed; `why` is for the reader."""
        tool = self._tools.get(tool_use_id or "")
        if tool is not None:
            tool.state, tool.refusal = "refused", why

    def _system(self, message: Any, now: float) -> list[Block]:
        data = message.data
        if message.subtype == "api_retry":
            self.retries.append(data.get("error_status"))
            self.notice = retry_notice(data)
            self._abandon()
        elif message.subtype == "status" and data.get("status") == "compacting":
            self.activity = "compacting the conversation"
        for told in data.get("retracted_message_uuids") or ():
            for block in self._told.pop(told, []):
                self._take_back(block)
        if message.subtype == "permission_denied":
            self.refuse(data.get("tool_use_id"), str(data.get("message", "")).split(" IMPORTANT:")[0])
        self.refused = refusal(message.subtype, data) or self.refused
        return self.tell(told_by(message))

    def _hook(self, message: Any, now: float) -> list[Block]:
        self._hook_said = hook_words(message.data)[0] or self._hook_said
        return self.tell(told_by(message))

    def _reset(self, message: Any, now: float) -> list[Block]:
        return self.tell(told_by(message))

    def tell(self, notice: NoticeBlock | None) -> list[Block]:
        """Add what Claude Code says to the person, once however often it says so."""
        if notice is None or any(
            isinstance(block, NoticeBlock) and block.text == notice.text for block in self.blocks
        ):
            return []
        self.blocks.append(notice)
        return [notice]

    def _tell_synthetic(self) -> list[Block]:
        """Claude Code's words in Claude's place, if the turn goes on after them."""
        words, self._synthetic = " ".join(self._synthetic.split()), ""
        if not words or words == NO_RESPONSE:
            return []
        return self.tell(NoticeBlock(words, "api_error", "warning"))

    def _result(self, message: Any, now: float) -> list[Block]:
        usage = message.usage or {}
        self.usage.input_tokens = int(usage.get("input_tokens") or 0)
        self.usage.output_tokens = int(usage.get("output_tokens") or 0)
        self.usage.cache_read_tokens = int(usage.get("cache_read_input_tokens") or 0)
        self.usage.cache_creation_tokens = int(usage.get("cache_creation_input_tokens") or 0)
        self.usage.requests = message.num_turns
        self._open_tokens = 0
        if message.is_error or self.refused:
            return []
        # Without the words that came after the last of Claude's: the result says them too.
        answer = [] if self.text else self._answer_of_command(message)
        answer += self.tell(ending_notice(message.terminal_reason, self._hook_said))
        silent = not any(isinstance(block, TextBlock | ToolUseBlock | NoticeBlock) for block in self.blocks)
        return answer + (self.tell(NoticeBlock("Claude gave no text.", "no_text")) if silent else [])

    def _answer_of_command(self, result: Any) -> list[Block]:
        """What one of Claude Code's own commands says without asking Claude: in the result, or printed."""
        self._answered = (result.result or self._printed).strip()
        compacted = any(isinstance(b, NoticeBlock) and b.kind == "compact_boundary" for b in self.blocks)
        if not self._answered or self._answered == NO_RESPONSE or (compacted and not result.result):
            return []  # that it was compacted is told already
        told = PrintedBlock(self._answered, done=True)
        self.blocks.append(told)
        return [told]


# What Claude is told where an attempt broke of which something was told whole, and so is kept.
_CUT_OFF = "Your response above was cut off mid-stream"
# How Claude Code marks what a command such as `/compact` printed.
_COMMAND_OUTPUT = re.compile(r"<local-command-stdout>(.*?)</local-command-stdout>", re.DOTALL)

_HANDLERS: dict[str, Callable[[TurnLog, Any, float], list[Block]]] = {
    "StreamEvent": TurnLog._stream_event,
    "AssistantMessage": TurnLog._assistant,
    "UserMessage": TurnLog._user,
    "SystemMessage": TurnLog._system,
    "HookEventMessage": TurnLog._hook,
    "ConversationResetMessage": TurnLog._reset,
    "ResultMessage": TurnLog._result,
}

_RETRY_CAUSES = {
    None: "the API cannot be reached",
    401: "not signed in",
    403: "not allowed",
    429: "rate limited",
    500: "the API failed",
    529: "overloaded",
}


def retry_notice(data: dict[str, Any]) -> str:
    """What Claude Code is doing about an API error, as "overloaded, try 3 of 10 in 5 s"."""
    status = data.get("error_status")
    cause = _RETRY_CAUSES.get(status, f"the API answered {status}")
    delay = float(data.get("retry_delay_ms") or 0) / 1000
    return f"{cause}, try {data.get('attempt', '?')} of {data.get('max_retries', '?')} in {delay:.0f} s"
