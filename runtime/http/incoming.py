"""The body of a request that is not there whole with its head: each piece goes into its exchange, up to the body's end.

Pure. Why it is late, and what becomes of a request whose body cannot be read, is its connection's business.
"""

from __future__ import annotations

from runtime.http.chunked import ChunkedBody
from runtime.http.exchange import Exchange


class IncomingBody:
    """Feed it what arrives; `exchange.complete` says when the body is whole."""

    __slots__ = ("_chunked", "_left", "exchange")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        request = exchange.request
        self._chunked = ChunkedBody() if request.is_chunked else None
        self._left = request.content_length or 0  # bytes still to come, of a body whose length was announced

    def feed(self, data: bytes) -> bytes:
        """Take what belongs to the body. Gives what came behind it.

        Raises:
            BodyMalformed: it comes in chunks that are none. Nothing may be fed any more.
        """
        exchange, chunked = self.exchange, self._chunked
        if chunked is not None:
            pieces = chunked.feed(data)
            exchange.received += pieces
            exchange.body_bytes += sum(map(len, pieces))
            if chunked.ended:
                exchange.trailers = chunked.trailers
                exchange.complete = True
            return chunked.rest
        rest = data[self._left :]
        if rest:
            data = data[: self._left]
        self._left -= len(data)
        exchange.received.append(data)
        exchange.body_bytes += len(data)
        exchange.complete = not self._left
        return rest
