"""Connections that send nothing, or a request byte by byte, are closed: uvicorn has no limit of its own for it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

TICKS = 4  # looks within the patience
BODY = 4  # times the patience, for an image over a slow line


class ImpatientProtocol(H11Protocol):  # type: ignore[misc]  # untyped
    """HTTP/1.1 that waits ``patience_s`` for the lines of a request, and four times as long for its body too.

    The time counts from the connection, or from the end of the answer before; what the application does with a request
    takes as long as it takes.
    """

    patience_s: float = 30.0
    _since: float = 0.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Starts the clock."""
        super().connection_made(transport)
        self._since = time.monotonic()
        self._tick()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _tick(self) -> None:
        now, cycle = time.monotonic(), self.cycle
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            self._since = now  # the application is at work
        is_sending = cycle is not None and cycle.more_body and not cycle.response_complete
        if now - self._since > self.patience_s * (BODY if is_sending else 1):
            self.transport.close()
            return
        self._timer = self.loop.call_later(self.patience_s / TICKS, self._tick)


def impatient(patience_s: float) -> type[ImpatientProtocol]:
    """The protocol with a patience.

    Args:
        patience_s: seconds for a whole request to arrive.
    """
    return type("Protocol", (ImpatientProtocol,), {"patience_s": patience_s})
