"""Every answer that a test gets by httpx, from the program in its process or from one of its own, told to who listens."""

from collections.abc import Callable
from typing import Any, Final

import httpx

Listener = Callable[[httpx.Request, httpx.Response], object]

_LISTENERS: Final[list[Listener]] = []


def listen(listener: Listener) -> None:
    """Be told of every answer from now on; one that is streamed has no content yet."""
    if not _LISTENERS:
        _watch()
    _LISTENERS.append(listener)


def content_of(answer: httpx.Response) -> bytes:
    return answer.content if answer.is_closed else b""


def _watch() -> None:
    send, send_async = httpx.Client.send, httpx.AsyncClient.send

    def watched_send(self: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        return _told(request, send(self, request, **options))

    async def watched_send_async(self: httpx.AsyncClient, request: httpx.Request, **options: Any) -> httpx.Response:
        return _told(request, await send_async(self, request, **options))

    httpx.Client.send, httpx.AsyncClient.send = watched_send, watched_send_async


def _told(request: httpx.Request, answer: httpx.Response) -> httpx.Response:
    for listener in _LISTENERS:
        listener(request, answer)
    return answer
