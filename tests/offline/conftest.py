"""Fixtures of the offline API's tests: a server that ends with its test, and the real client for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import anthropic
import pytest

from claude_nb.offline import OfflineAPI

Serve = Callable[..., OfflineAPI]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server with a script; it is stopped after the test."""
    with ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(OfflineAPI(*args, **options))


@pytest.fixture
def client_of() -> Iterator[Callable[..., anthropic.Anthropic]]:
    """The official client, which tries nothing twice."""
    with ExitStack() as stack:

        def make(api: OfflineAPI, key: str | None = None) -> anthropic.Anthropic:
            client = anthropic.Anthropic(base_url=api.url, api_key=key or api.token, max_retries=0)
            return stack.enter_context(client)

        yield make
