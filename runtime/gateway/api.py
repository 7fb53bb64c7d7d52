"""One API request's way to the control plane: nothing of it is looked at, what it says is passed on as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

from runtime.gateway import answers, refusal
from runtime.gateway.headers import RequestHead, lines
from runtime.gateway.refusal import Refusal
from runtime.gateway.relay import Relay
from runtime.http.client import ClientConnection, ConnectionFailed, NotSent
from runtime.http.exchange import Exchange
from runtime.http.head import Response
from runtime.http.pool import NoResources, Unreachable

if TYPE_CHECKING:
    from runtime.gateway.gateway import Gateway

_SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))
_AWAY: Final = "the control plane is away; functions go on being served"


@mypyc_attr(allow_interpreted_subclasses=True)
class ApiRequest(Relay):
    """A request for the control plane."""

    def __init__(self, gateway: Gateway, exchange: Exchange, head: RequestHead) -> None:
        settings = gateway.settings
        super().__init__(
            exchange, head, body_bytes_max=settings.api_body_bytes_max, held_bytes_max=settings.held_body_bytes_max
        )
        self._gateway = gateway
        self._sent_times = 0

    def begin(self) -> None:
        self._gateway.patience.for_the_api.add(self)
        self._send_over(self._gateway.control_plane.take(must_be_alive=not self._is_safe))
        if self.head.expects_continue:
            self.exchange.send_continue()

    def not_answered(self) -> None:
        """The control plane took too long."""
        if not self._answered:  # an answer that was begun, a log that is followed, may last
            self.refuse(refusal.unavailable("the control plane did not answer in time"))

    # -- what a relay asks ---------------------------------------------------------------------------------------------

    def request_head(self) -> bytes:
        head, exchange = self.head, self.exchange
        more = lines(head.fc)
        if head.authorization is not None:
            more += lines([(b"authorization", head.authorization)])
        line = b"%b %b HTTP/1.1\r\n" % (exchange.method, exchange.target)
        if head.host is None:
            line += b"host: localhost\r\n"
        return b"".join((line, *head.passed, *more))

    def answer_head(self, response: Response) -> tuple[int, bytes]:
        self._gateway.patience.for_the_api.discard(self)
        return response.status, b""

    def lost(self, error: ConnectionFailed) -> None:
        if self._is_safe and self.can_be_sent_again and self._sent_times < 2:
            self._gateway.spawn(self._connect())
        else:
            self.refuse(refusal.unavailable(f"{_AWAY}: {error}"))

    def ended(self, refusal: Refusal | None) -> None:  # noqa: ARG002
        self._gateway.patience.for_the_api.discard(self)

    def write_refusal(self, refusal: Refusal) -> None:
        answers.refuse(self.exchange, refusal, self._gateway.request_ids.new())

    def client_gone(self) -> None:
        self.give_up()  # the control plane finishes what it began, whoever listens

    # -- inside --------------------------------------------------------------------------------------------------------

    @property
    def _is_safe(self) -> bool:
        return self.exchange.method in _SAFE

    def _send_over(self, connection: ClientConnection | None) -> None:
        """Send over this connection, over another one if it turns out to be closed, or over a new one."""
        self._sent_times += 1
        while connection is not None:
            try:
                self.send(connection)
                return
            except NotSent:
                connection.close()
                connection = self._gateway.control_plane.take(must_be_alive=True)
        self._sent_times -= 1
        self._gateway.spawn(self._connect())

    async def _connect(self) -> None:
        pool = self._gateway.control_plane
        try:
            connection = await pool.connect()
        except (Unreachable, NoResources) as error:
            if not self.over:
                self.refuse(refusal.unavailable(f"{_AWAY}: {error}"))
            return
        if self.over:
            pool.put_back(connection)
        else:
            self._send_over(connection)
