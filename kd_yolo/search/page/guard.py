"""Which requests the page's server answers: those that the page itself makes, from a host that it serves."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from kd_yolo.base.errors import InputError
from kd_yolo.search.page.upload import Limits, read_upload

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Refusal = tuple[int, str]

API = "/gradio_api"
FILE = f"{API}/file="
UPLOAD, JOIN = f"{API}/upload", f"{API}/queue/join"
READ = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)|/(assets|static)/[\w./~+-]+"
    rf"|{API}/(startup-events|upload_progress|queue/data|heartbeat/\w+)"
)
WRITE = frozenset((UPLOAD, JOIN, f"{API}/cancel", f"{API}/reset"))
IMAGES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"))
LOOPBACK = frozenset(("localhost", "127.0.0.1", "[::1]"))
EVENT_BYTES = 64_000  # of one event of the page: some ids and a file's name
FORM_BYTES = 16_000  # of an upload around its file
DRAINED = 4  # times the limit: longer bodies are cut off
HEADERS = {
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval';"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self';"
    " object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True)
class Guard:
    """Stands before the web application (ASGI) and refuses everything that its page does not need.

    The application below has more doors than the page uses: files by path, files fetched from web addresses, calls by
    name, a proxy. They are closed here, whatever a version of gradio adds.

    Attributes:
        app: what is guarded.
        cache: the one folder that files are served from, and that events may name files of.
        limits: of uploads.
        hosts: names that a browser may call the server by (another name on the loopback address is a page of somebody
            else that was pointed here); None: any.
    """

    app: App
    cache: Path
    limits: Limits
    hosts: frozenset[str] | None = LOOPBACK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request or hands it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, with_headers(send, scope["path"].startswith(API)))
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self.refusal(scope)
        if refusal is None and scope["method"] == "POST":
            most = self.limits.size_bytes + FORM_BYTES if scope["path"] == UPLOAD else EVENT_BYTES
            body = await read_body(receive, most)
            refusal = (413, self.limits.too_big) if body is None else await self._bad_body(scope, body)
            receive = replay(body or b"", receive)
        await (self.app(scope, receive, send) if refusal is None else refuse(send, *refusal))

    def refusal(self, scope: Scope) -> Refusal | None:
        """Why a request is not answered, from its first lines alone; None when it may be."""
        method, path = scope["method"], scope["path"]
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.hosts is not None and host_name(host) not in self.hosts:
            return 421, "This page is served on this machine only: open it as http://127.0.0.1."
        if method == "POST":
            if origin is not None and origin.partition("://")[2] != host:
                return 403, "Requests from other pages are not answered."
            return None if path in WRITE else (404, "Not found.")
        if method not in {"GET", "HEAD"}:
            return 405, "Method not allowed."
        if path.startswith(FILE):
            return None if self.holds(path.removeprefix(FILE)) else (403, "Not an image of this page.")
        return None if READ.fullmatch(path) and ".." not in path else (404, "Not found.")

    def holds(self, name: str) -> bool:
        """Whether a name stands for an image that this page made or was sent."""
        if "\0" in name or Path(name).suffix.lower() not in IMAGES:
            return False
        try:
            file = Path(name).resolve(strict=True)
        except (OSError, RuntimeError):
            return False
        return file.is_file() and file.is_relative_to(self.cache.resolve())

    async def _bad_body(self, scope: Scope, body: bytes) -> Refusal | None:
        if scope["path"] == UPLOAD:
            return await self._bad_upload(scope, body)
        return None if all(self.holds(name) for name in named_files(body)) else (403, "Not an image of this page.")

    async def _bad_upload(self, scope: Scope, body: bytes) -> Refusal | None:
        import anyio
        from starlette.exceptions import HTTPException
        from starlette.formparsers import MultiPartException
        from starlette.requests import Request

        try:
            form = await Request(scope, replay(body)).form(max_files=1, max_fields=1)
            files = [part for _, part in form.multi_items() if not isinstance(part, str)]
            if len(files) != 1:
                return 400, "Send one image."
            await anyio.to_thread.run_sync(read_upload, await files[0].read(), self.limits)
        except (HTTPException, MultiPartException, ValueError):
            return 400, "Send one image."
        except InputError as error:
            return 413 if str(error) == self.limits.too_big else 415, str(error)
        return None


def host_name(host: str) -> str:
    """``localhost`` of ``localhost:7860``; brackets stay around an IPv6 address."""
    return re.sub(r":\d*$", "", host).lower()


def named_files(body: bytes) -> list[str]:
    """Every file that an event names, by path or address, however deep.

    What is no JSON, no address of ours, or an image inside an address (``data:``) names a file that nothing holds.
    """
    try:
        waiting, found = [json.loads(body or b"{}")], []
    except (ValueError, RecursionError):
        return [""]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            found += [str(value["path"])] if value.get("path") is not None else []
            found += [unquote(str(value["url"]).partition(FILE)[2])] if value.get("url") is not None else []
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return found


async def read_body(receive: Receive, most_bytes: int) -> bytes | None:
    """The body of a request; None when it is longer than allowed.

    A body that is a little too long is read to its end and forgotten, or the browser would not read the answer.
    """
    parts: list[bytes] = []
    size, more = 0, True
    while more and size <= DRAINED * most_bytes:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size <= most_bytes:
            parts.append(part)
        else:
            parts.clear()
        more = message["type"] == "http.request" and message.get("more_body", False)
    return b"".join(parts) if size <= most_bytes else None


def replay(body: bytes, after: Receive | None = None) -> Receive:
    """Hands out a body that was read before, then what comes after it."""
    waiting = [body]

    async def receive() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await after() if after is not None else {"type": "http.disconnect"}

    return receive


def with_headers(send: Send, is_private: bool) -> Send:
    """Adds the headers that keep a browser on this host; answers with people in them are not kept."""
    added = {**HEADERS, "cache-control": "no-store"} if is_private else HEADERS

    async def send_more(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(key, value) for key, value in message.get("headers", []) if key.decode().lower() not in added]
            message["headers"] = own + [(key.encode(), value.encode()) for key, value in added.items()]
        await send(message)

    return send_more


async def refuse(send: Send, status: int, text: str) -> None:
    """Answers with a line of text and closes the connection, so that the rest of a body is not read."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
