"""Tier: HTTP. The offline API held to what the official client expects, and closed to everybody else."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic.types import MessageParam, ToolParam

from claude_nb.offline import OfflineAPI

Client = Callable[..., anthropic.Anthropic]
Serve = Callable[..., OfflineAPI]

TIMEOUT = 20  # seconds until a wait in these tests is given up


def one(*reply: str, more: str = "") -> str:
    """A script of one rule that answers anything with these blocks."""
    blocks = "\n".join(f"      - {block}" for block in reply)
    return f"rules:\n  - always: true\n    reply:\n{blocks}\n{more}"


def ask(client: anthropic.Anthropic, prompt: str = "x") -> anthropic.types.Message:
    return client.messages.create(model="m", max_tokens=100, messages=[{"role": "user", "content": prompt}])


def stream_text(client: anthropic.Anthropic, prompt: str = "x") -> str:
    messages: list[MessageParam] = [{"role": "user", "content": prompt}]
    with client.messages.stream(model="m", max_tokens=100, messages=messages) as stream:
        return stream.get_final_text()


def stream_into(received: list[str], client: anthropic.Anthropic) -> None:
    messages: list[MessageParam] = [{"role": "user", "content": "x"}]
    with client.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
        received.extend(stream.text_stream)


def request(api: OfflineAPI, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
    """One raw request with the right token, unless the headers say otherwise."""
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=TIMEOUT)
    try:
        sent = {"x-api-key": api.token} | {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        text = response.read()
        assert not [name for name, _ in response.getheaders() if name.lower().startswith("access-control")]
        return response.status, json.loads(text) if text else None
    finally:
        connection.close()


def refusal(answer: tuple[int, Any]) -> tuple[int, str]:
    status, body = answer
    assert body["type"] == "error"
    return status, body["error"]["type"]


MESSAGE = json.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}).encode()


# As the official client sees it.


def test_the_client_gets_the_same_text_streamed_and_whole(serve: Serve, client_of: Client) -> None:
    client = client_of(serve(one("text: 'You said: {prompt} ∑ 😀'")))
    whole = ask(client, 'a "b" {c} \\')
    assert [block.type for block in whole.content] == ["text"]
    assert stream_text(client, 'a "b" {c} \\') == whole.content[0].text == 'You said: a "b" {c} \\ ∑ 😀'
    assert whole.stop_reason == "end_turn"
    assert whole.usage.output_tokens > 1


def test_the_client_gets_thinking_before_text(serve: Serve, client_of: Client) -> None:
    message = ask(client_of(serve(one("thinking: hm", "text: yes"))))
    assert [block.type for block in message.content] == ["thinking", "text"]


def test_the_client_runs_tools_over_two_steps(serve: Serve, client_of: Client) -> None:
    script = one(
        "{tool: look, input: {where: '{prompt}'}}",
        "{tool: look, input: {where: there}}",
        more="    then: ['I saw {result}']",
    )
    client = client_of(serve(script))
    tools: list[ToolParam] = [{"name": "look", "input_schema": {"type": "object"}}]
    messages: list[MessageParam] = [{"role": "user", "content": "here"}]
    with client.messages.stream(model="m", max_tokens=9, messages=messages, tools=tools) as stream:
        first = stream.get_final_message()
    calls = [block for block in first.content if block.type == "tool_use"]
    assert first.stop_reason == "tool_use"
    assert [call.input for call in calls] == [{"where": "here"}, {"where": "there"}]
    assert len({call.id for call in calls}) == 2
    results: list[Any] = [
        {"type": "tool_result", "tool_use_id": call.id, "content": f"r{number}"}
        for number, call in enumerate(calls)
    ]
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    second = client.messages.create(model="m", max_tokens=9, messages=messages, tools=tools)
    assert second.content[0].type == "text"
    assert second.content[0].text == "I saw r0\nr1"


def test_tokens_are_counted_the_same_each_time_and_as_the_reply_reports(
    serve: Serve, client_of: Client
) -> None:
    client = client_of(serve())
    messages: list[MessageParam] = [{"role": "user", "content": "hello " * 100}]
    counted = client.messages.count_tokens(model="m", messages=messages).input_tokens
    reported = client.messages.create(model="m", max_tokens=9, messages=messages).usage
    assert 100 < counted < 300
    assert reported.input_tokens == counted


def test_the_client_lists_models(serve: Serve, client_of: Client) -> None:
    client = client_of(serve())
    names = [model.id for model in client.models.list()]
    assert names
    assert client.models.retrieve(names[0]).id == names[0]
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("no-such-model")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("400", anthropic.BadRequestError),
        ("credit", anthropic.BadRequestError),
        ("401", anthropic.AuthenticationError),
        ("403", anthropic.PermissionDeniedError),
        ("404", anthropic.NotFoundError),
        ("413", anthropic.APIStatusError),
        ("429", anthropic.RateLimitError),
        ("500", anthropic.InternalServerError),
        ("529", anthropic.InternalServerError),
    ],
)
@pytest.mark.parametrize("asking", [ask, stream_text])
def test_each_error_is_the_clients_typed_exception(
    serve: Serve,
    client_of: Client,
    error: str,
    expected: type[anthropic.APIStatusError],
    asking: Callable[[anthropic.Anthropic], object],
) -> None:
    client = client_of(serve(one(f"error: {error}")))
    with pytest.raises(expected) as caught:
        asking(client)
    assert caught.value.status_code == (400 if error == "credit" else int(error))
    assert ("credit balance is too low" in caught.value.message) == (error == "credit")
    if error == "404":
        assert "model: m" in caught.value.message


def test_an_error_with_times_recovers_and_comes_again_for_the_next_prompt(
    serve: Serve, client_of: Client
) -> None:
    client = client_of(serve(one("{error: 529, times: 2}", "text: recovered")))
    for prompt in ("one", "two"):
        for _ in range(2):
            with pytest.raises(anthropic.InternalServerError):
                ask(client, prompt)
        assert stream_text(client, prompt) == "recovered"


def test_a_wrong_token_is_an_authentication_error(serve: Serve, client_of: Client) -> None:
    api = serve()
    for key in ("sk-ant-other", api.token + "x", api.token[:-1]):
        with pytest.raises(anthropic.AuthenticationError):
            ask(client_of(api, key))
    assert api.requests == []


def test_a_connection_dropped_at_once_and_in_mid_stream(serve: Serve, client_of: Client) -> None:
    with pytest.raises(anthropic.APIConnectionError):
        stream_text(client_of(serve(one("drop: true"))))
    client = client_of(serve(one("text: so far", "drop: true", "text: never")))
    received: list[str] = []
    # Its type is that of the HTTP library which this version of the client brings.
    with pytest.raises(Exception, match="peer closed connection without sending complete message body"):
        stream_into(received, client)
    assert "".join(received) == "so far"


def test_an_error_in_mid_stream(serve: Serve, client_of: Client) -> None:
    client = client_of(serve(one("text: so far", "error: 529")))
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        stream_text(client)


def test_a_stall_ends_when_the_client_goes_and_the_server_serves_others(
    serve: Serve, client_of: Client
) -> None:
    api = serve("rules:\n  - {says: stall, reply: [{stall: forever}]}\n  - {always: true, reply: quick}")
    client = client_of(api).with_options(timeout=0.3)
    with pytest.raises(anthropic.APITimeoutError):
        ask(client, "stall")
    assert stream_text(client_of(api)) == "quick"


def test_stopping_cuts_off_an_open_reply(serve: Serve, client_of: Client) -> None:
    api = serve(one("text: first", "stall: forever"))
    messages: list[MessageParam] = [{"role": "user", "content": "x"}]
    with client_of(api).messages.stream(model="m", max_tokens=9, messages=messages) as stream:
        assert next(iter(stream.text_stream)) == "first"
        stopping = threading.Thread(target=api.stop, daemon=True)
        stopping.start()
        stopping.join(TIMEOUT)
        assert not stopping.is_alive()
    assert not api.running
    api.stop()
    api.start()
    assert api.running


def test_a_paced_text_keeps_its_rate_and_comes_piece_by_piece(serve: Serve, client_of: Client) -> None:
    client = client_of(serve(one("{text: 'word ', repeat: 100, rate: 200}")))
    messages: list[MessageParam] = [{"role": "user", "content": "x"}]
    arrivals = []
    with client.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
        for _ in stream.text_stream:
            arrivals.append(time.monotonic())
    assert len(arrivals) == 100
    assert arrivals[-1] - arrivals[0] > 0.4  # never faster than asked; a slow machine may take longer


def test_20000_chunks_and_one_of_20_megabytes_arrive_whole(serve: Serve) -> None:
    api = serve(
        "rules:\n"
        "  - {says: many, reply: [{text: '{n};', repeat: 20000}]}\n"
        "  - {says: large, reply: [{text: 0123456789, repeat: 2000000, chunk: 0}]}\n".replace(
            "0123456789", "'0123456789'"
        )
    )
    assert deltas(api, "many") == [f"{number};" for number in range(1, 20001)]
    (large,) = deltas(api, "large")
    assert len(large) == 20_000_000


def deltas(api: OfflineAPI, prompt: str) -> list[str]:
    """The text deltas of a streamed reply, read raw."""
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=TIMEOUT)
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": prompt}]}
    try:
        connection.request("POST", "/v1/messages", json.dumps(body), {"x-api-key": api.token})
        lines = connection.getresponse().read().splitlines()
    finally:
        connection.close()
    events = [json.loads(line[5:]) for line in lines if line.startswith(b"data:")]
    assert [event["type"] for event in (events[0], events[-1])] == ["message_start", "message_stop"]
    return [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]


def test_many_requests_leave_a_bounded_list(serve: Serve) -> None:
    api = serve(one("text: ok"))
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=TIMEOUT)
    for _ in range(300):
        connection.request("POST", "/v1/messages", MESSAGE, {"x-api-key": api.token})
        assert connection.getresponse().read()
    connection.close()
    assert len(api.requests) == 200


# As everybody else meets it.


def test_a_head_needs_no_token_but_our_host(serve: Serve) -> None:
    api = serve()
    assert request(api, "HEAD", "/", x_api_key="")[0] == 200
    assert request(api, "HEAD", "/", Host="evil.example")[0] == 403


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_a_page_of_a_browser_is_refused(serve: Serve, path: str) -> None:
    api = serve()
    for origin in ("https://evil.example", "null", api.url):
        assert refusal(request(api, "POST", path, MESSAGE, Origin=origin)) == (403, "permission_error")
    assert refusal(request(api, "OPTIONS", path, Origin="https://evil.example"))[0] in (403, 405)
    assert api.requests == []


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example", ""])
def test_a_host_that_is_not_ours_is_refused(serve: Serve, host: str) -> None:
    assert refusal(request(serve(), "POST", "/v1/messages", MESSAGE, Host=host)) == (403, "permission_error")


def test_both_names_of_the_loopback_and_both_ways_to_give_the_token_work(serve: Serve) -> None:
    api = serve(token="my-own")
    for host in (f"127.0.0.1:{api.port}", f"localhost:{api.port}"):
        assert request(api, "POST", "/v1/messages", MESSAGE, Host=host)[0] == 200
    bearer = {"x_api_key": "", "Authorization": "Bearer my-own"}
    assert request(api, "POST", "/v1/messages", MESSAGE, **bearer)[0] == 200
    assert refusal(request(api, "POST", "/v1/messages", MESSAGE, x_api_key=""))[0] == 401
    assert refusal(request(api, "GET", "/v1/models", x_api_key=""))[0] == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"model": "m"}',
        b'{"model": "m", "messages": []}',
        b'{"model": "m", "messages": [1]}',
        b'{"model": "m", "messages": [{"role": "user"}]}',
        b'{"messages": [{"role": "user", "content": "x"}]}',
    ],
)
def test_a_bad_body_is_an_invalid_request(serve: Serve, body: bytes) -> None:
    assert refusal(request(serve(), "POST", "/v1/messages", body)) == (400, "invalid_request_error")


def test_odd_blocks_and_lone_surrogates_are_answered(serve: Serve) -> None:
    blocks = [{"type": "text", "text": "a\\ud800"}, {"type": "image"}, 7, {"type": "tool_result"}]
    body = {"model": "m", "messages": [{"role": "user", "content": blocks}], "system": 3, "stream": True}
    raw = json.dumps(body).replace("\\\\ud800", "\\ud800").encode()
    assert b"\\ud800" in raw
    api = serve(one("text: '{prompt}'"))
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=TIMEOUT)
    connection.request("POST", "/v1/messages", raw, {"x-api-key": api.token})
    text = connection.getresponse().read()
    connection.close()
    assert b"message_stop" in text
    assert b"a\\ud800" in text


def test_other_addresses_and_methods_are_refused_in_the_same_form(serve: Serve) -> None:
    api = serve()
    assert refusal(request(api, "GET", "/v1/files")) == (404, "not_found_error")
    assert refusal(request(api, "GET", "/v1/messages"))[0] == 405
    assert refusal(request(api, "DELETE", "/v1/messages"))[0] == 405


def raw_answer(api: OfflineAPI, head: str) -> bytes:
    """What comes back for a request's head alone."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=TIMEOUT) as connection:
        connection.sendall(head.encode())
        received = b""
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionResetError:
            pass
        return received


@pytest.mark.parametrize("size", [64 * 1024 * 1024 + 1, 10**12])
def test_a_body_that_is_too_large_is_refused_before_it_is_read(serve: Serve, size: int) -> None:
    api = serve()
    head = f"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1:{api.port}\r\nx-api-key: {api.token}\r\n"
    answer = raw_answer(api, f"{head}Content-Length: {size}\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"request_too_large"' in answer


def test_headers_that_are_too_large_are_refused(serve: Serve) -> None:
    api = serve()
    answer = raw_answer(api, f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{api.port}\r\nX: {'x' * 200_000}\r\n\r\n")
    assert not answer.startswith(b"HTTP/1.1 200")


def test_only_the_loopback_is_listened_on_and_no_token_is_ever_shown(
    serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    api = serve()
    request(api, "POST", "/v1/messages", MESSAGE)
    request(api, "POST", "/v1/messages", b"{")
    assert api.url.startswith("http://127.0.0.1:")
    assert api.token not in repr(api)
    assert api.token not in "".join(capfd.readouterr())
    with socket.socket() as other, pytest.raises(OSError, match="refused"):
        other.connect(("127.0.0.2", api.port))


def test_two_servers_have_different_tokens(serve: Serve) -> None:
    assert serve().token != serve().token


def test_a_port_in_use_is_an_error_at_start(serve: Serve) -> None:
    taken = serve()
    with pytest.raises(RuntimeError, match="could not listen"):
        OfflineAPI(port=taken.port).start()


def test_from_the_command_line_it_serves_until_interrupted(tmp_path: Path) -> None:
    serve_and_tell = "OfflineAPI().run(lambda api: print(api.url, api.token, flush=True))"
    code = f"from claude_nb.offline import OfflineAPI; {serve_and_tell}"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    with process:
        assert process.stdout is not None
        url, token = process.stdout.readline().split()
        with anthropic.Anthropic(base_url=url, api_key=token, max_retries=0) as client:
            assert "script" in stream_text(client, "hello")
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()
