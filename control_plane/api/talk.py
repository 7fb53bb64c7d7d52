"""How a process's streams are put into a WebSocket's messages: as Function Compute's clients want it, or as ours. Pure.

Function Compute's: a text whose first character is the stream's number. Its Python client can read nothing else; what
it sends looks the same, while its Node client sends what is typed as bytes and without a number. There is no word for
the end of the input or for the exit status, so the reason of the close frame says the status.

Ours (subprotocol `stoke.exec.v1`): bytes, the first of which is the stream's number, both ways and always.
"""

from __future__ import annotations

import codecs
from typing import Final, Protocol

from runtime.shell import Stream

SUBPROTOCOL: Final = "stoke.exec.v1"


class Talk(Protocol):
    @property
    def subprotocol(self) -> str | None:
        """What the handshake agrees to."""

    def heard(self, text: str | None, data: bytes | None) -> tuple[Stream, bytes]:
        """What a client's message means."""

    def said(self, stream: Stream, data: bytes) -> list[str | bytes]:
        """The messages that tell a client, none where there is nothing to tell."""


class FcTalk:
    subprotocol: Final = None

    def __init__(self) -> None:
        self._decoders = {
            stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in (Stream.STDOUT, Stream.STDERR)
        }

    def heard(self, text: str | None, data: bytes | None) -> tuple[Stream, bytes]:
        typed = text.encode("utf-8", "surrogatepass") if text is not None else data or b""
        # A NUL alone is a key (Ctrl-Space); before other bytes it is the stream's number.
        return Stream.STDIN, typed[1:] if len(typed) > 1 and typed[0] == Stream.STDIN else typed

    def said(self, stream: Stream, data: bytes) -> list[str | bytes]:
        """A character that arrives in two pieces waits for its second one."""
        if stream is Stream.ERROR:
            return [chr(stream) + data.decode("utf-8", "replace")]
        if stream is Stream.EXIT:
            rests = ((each, decoder.decode(b"", final=True)) for each, decoder in self._decoders.items())
            return [chr(each) + rest for each, rest in rests if rest]
        decoder = self._decoders.get(stream)
        text = decoder.decode(data) if decoder is not None else ""
        return [chr(stream) + text] if text else []


class OwnTalk:
    subprotocol: Final = SUBPROTOCOL

    def heard(self, text: str | None, data: bytes | None) -> tuple[Stream, bytes]:
        """A message that is none of ours is taken for what is not for clients to send."""
        if not data or data[0] not in Stream.__members__.values():
            return Stream.ERROR, (text or "").encode("utf-8", "replace")
        return Stream(data[0]), data[1:]

    def said(self, stream: Stream, data: bytes) -> list[str | bytes]:
        return [bytes((stream,)) + data]
