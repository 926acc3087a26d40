"""What each address of the offline API does."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from tornado.iostream import StreamClosedError

from claude_nb.offline import auxiliary, player
from claude_nb.offline.conversation import Conversation, read
from claude_nb.offline.gate import ClientGone, Handler, Refused
from claude_nb.offline.script import Answer, Block, Drop, Error, Text, Wait, fill

MODELS = ("claude-opus-5-5", "claude-sonnet-5", "claude-haiku-4-5")
# Unpaced events are sent together: a write to the socket for each would cost more than all else.
BATCH = 64 * 1024  # bytes
# How far a paced reply may catch up after a pause of the reader or of this machine.
CATCH_UP = 0.1  # seconds


class Root(Handler):
    """Claude Code looks whether anybody is there."""

    needs_token = False

    def head(self) -> None:
        self.checked()

    def get(self) -> None:
        self.checked()
        self.finish({"service": "claude_nb offline API", "note": "a script answers here, not a model"})


class Unknown(Handler):
    """Any other address."""

    def prepare(self) -> None:
        super().prepare()
        if self.refusal is None:
            self.refusal = Refused(404, "not_found_error", "Not found")

    def get(self) -> None:
        self.checked()

    head = post = put = delete = patch = options = get


class Models(Handler):
    def get(self) -> None:
        self.checked()
        listed = [describe(name) for name in MODELS]
        self.finish({"data": listed, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]})


class Model(Handler):
    def get(self, name: str) -> None:
        self.checked()
        if self.api.unusable_model(Conversation(model=name)):
            raise Refused(404, "not_found_error", f"model: {name}")
        self.finish(describe(name))


def describe(name: str) -> dict[str, str]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}


def check_body(body: dict[str, Any]) -> None:
    """Raises `Refused` where the official API would say what is missing."""
    if not isinstance(body.get("model"), str):
        raise Refused(400, "invalid_request_error", "model: Field required")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "invalid_request_error", "messages: at least one message is required")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant", "system"):
            raise Refused(400, "invalid_request_error", f"messages.{index}.role: Input should be 'user'")
        if not isinstance(message.get("content"), str | list):
            raise Refused(400, "invalid_request_error", f"messages.{index}.content: Field required")


class CountTokens(Handler):
    def post(self) -> None:
        body = self.body()
        check_body(body)
        self.finish({"input_tokens": sum(player.input_usage(body).values())})


class Messages(Handler):
    """A turn, or a request that Claude Code makes on its own account."""

    async def post(self) -> None:
        body = self.body()
        check_body(body)
        sent = player.Sent(self.api.run_id, self.api.remember(body))
        said = read(body)
        self.set_header("request-id", f"req_{sent.run}_{sent.serial}")
        self.due = time.monotonic()
        answer = await self.begin(self.choose(body, said), said)
        if answer is None:
            return
        if body.get("stream"):
            await self.stream(answer, body, sent)
        else:
            await self.reply_whole(answer, body, sent)

    def choose(self, body: dict[str, Any], said: Conversation) -> Answer:
        own = auxiliary.answer(body, said)
        if own is None:
            return self.api.answer(said)
        return self.api.unusable_model(said) or Answer("auxiliary", (Text(own, raw=True),))

    async def begin(self, answer: Answer, said: Conversation) -> Answer | None:
        """Play what comes before the reply: None where there will be none, else the answer without it."""
        session = self.request.headers.get("X-Claude-Code-Session-Id", "")
        key = (session, answer.rule, said.user_messages, said.prompt)
        blocks = self.attempt(answer.blocks, key)
        used = 0
        for block in player.leading(blocks):
            used += 1
            if isinstance(block, Wait):
                await self.pause(block.seconds)
            elif isinstance(block, Drop):
                self.hang_up()
                return None
            else:
                self.fail(block, answer)
                return None
        return Answer(answer.rule, blocks[used:], answer.values, answer.step)

    def attempt(self, blocks: tuple[Block, ...], key: tuple[object, ...]) -> tuple[Block, ...]:
        """What this request gets: up to a failure that is still due, without what earlier attempts got."""
        begins = 0
        for index, block in enumerate(blocks):
            if isinstance(block, Error | Drop):
                if self.api.fails_again(block, (*key, index)):
                    return blocks[begins : index + 1]
                begins = index + 1
        return blocks[begins:]

    def hang_up(self) -> None:
        """Close the connection with no further byte, as a broken network does."""
        self.detach().close()

    def fail(self, error: Error, answer: Answer) -> None:
        if error.retry_after is not None:
            self.set_header("retry-after", f"{error.retry_after:g}")
        self.refuse(Refused(error.status, error.type, fill(error.message, answer.values)))

    async def pause(self, seconds: float | None) -> None:
        """Wait by a clock of the reply's own, so that a paced text keeps its rate."""
        if seconds is None:
            await self.gone.wait()
        else:
            self.due = max(self.due, time.monotonic() - CATCH_UP) + seconds
            await self.until_due()
        if self.gone.is_set():
            raise ClientGone

    async def until_due(self) -> None:
        left = self.due - time.monotonic()
        if left > 0:
            try:
                async with asyncio.timeout(left):
                    await self.gone.wait()
            except TimeoutError:
                return

    async def stream(self, answer: Answer, body: dict[str, Any], sent: player.Sent) -> None:
        """Send the events as they come due; those that are due together go together."""
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        waiting, size = [], 0
        for item in player.play(answer, body, sent):
            if isinstance(item, dict):
                waiting.append(event_text(item))
                size += len(waiting[-1])
            if waiting and (not isinstance(item, dict) or size > BATCH):
                await self.send("".join(waiting))
                waiting, size = [], 0
            if isinstance(item, Drop):
                return self.hang_up()
            if isinstance(item, Wait):
                await self.pause(item.seconds)
        await self.send("".join(waiting))
        self.finish()

    async def send(self, text: str) -> None:
        try:
            self.write(text)
            await self.flush()
            # A reader that keeps up would otherwise have the loop to itself.
            await asyncio.sleep(0)
        except StreamClosedError:
            raise ClientGone from None

    async def reply_whole(self, answer: Answer, body: dict[str, Any], sent: player.Sent) -> None:
        """Send one message; a text's pace means nothing here, stalls and errors do."""
        for block in answer.blocks:
            if isinstance(block, Wait):
                await self.pause(block.seconds)
            if isinstance(block, Drop):
                return self.hang_up()
            if isinstance(block, Error):
                return self.fail(block, answer)
        events = (item for item in player.play(answer, body, sent) if isinstance(item, dict))
        self.finish(json.dumps(player.fold(events)))


def event_text(event: dict[str, Any]) -> str:
    return f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n"
