"""What each SDK signs, Stoke checks: at the API, and at the gateway, which answers invocations. Fourth argument: the
SDK."""

import sys
import time

from adapters import SDKS
from common import WIRE, eventually, refused

SDK = sys.argv[4]


def changed(change):
    """A context in which every request is changed after it was signed."""

    class Changing:
        def __enter__(self):
            WIRE.change = change

        def __exit__(self, *_):
            WIRE.change = None

    return Changing()


def swap_bytes(request):
    """Another body of the same length, under the same signature."""
    body = request.body if isinstance(request.body, bytes) else request.body.encode()
    request.body = body.replace(b"before", b"after!")
    assert request.body != body
    assert request.headers.get("content-length", str(len(body))) == str(len(body))


def swap_path(request):
    assert "/g/" in request.url
    request.url = request.url.replace("/g/", "/h/")


def unsigned(request):
    del request.headers["authorization"]


def read_it_again():
    """The last request is overheard, and sent once more."""
    status, body = WIRE.again()
    assert (status, body["Code"]) == (403, "SignatureNonceUsed"), (status, body)
    assert body["ErrorCode"] == body["Code"]
    print("refused", "replay", status, body["Code"])


Client = SDKS[SDK]
is_tea = SDK != "fc2"
client = Client()
client.make_function()
eventually(lambda: client.invoke(b"abc") == b"cba", "the function is served")


def each(status, code, why, client):
    """Look, make and invoke are refused alike: two at the API, one at the gateway."""
    refused(status, code, f"{why}: look", client.look)
    refused(status, code, f"{why}: make", lambda: client.make("before"))
    refused(status, code, f"{why}: invoke", lambda: client.invoke(b"before"))


each(403, "SignatureNotMatch", "another secret", Client("wrong"))
each(403, "InvalidAccessKeyID", "no such key", Client("nobody"))
with changed(unsigned):
    each(400, "MissingRequiredHeader", "no signature", client)
with changed(swap_bytes):
    refused(403, "SignatureNotMatch", "another body: make", lambda: client.make("before"))
    refused(403, "SignatureNotMatch", "another body: invoke", lambda: client.invoke(b"before"))
with changed(swap_path):
    refused(403, "SignatureNotMatch", "another path: invoke", lambda: client.invoke(b"before"))
assert "before" not in client.look()
assert "after!" not in client.look()

# Roles and tokens.
read_only = Client("read")
read_only.look()
refused(403, "AccessDenied", "role read: make", lambda: read_only.make("before"))
refused(403, "AccessDenied", "role read: invoke", lambda: read_only.invoke(b"before"))
with_token = Client("token")
assert "before" not in with_token.look()
assert with_token.invoke(b"abc") == b"cba"
each(403, "AccessDenied", "another token", Client("another token"))
each(403, "AccessDenied", "no token", Client("no token"))

if is_tea:
    client.look()
    read_it_again()
    assert client.invoke(b"abc") == b"cba"
    read_it_again()
    # The scheme `acs`, which the same SDKs speak on request; with it they make JSON of a payload, and cannot invoke.
    older = Client("token", signature_algorithm="v2")
    older.look()
    assert WIRE.last.headers["authorization"].startswith("acs ")
    for key, code in (
        ("wrong", "SignatureNotMatch"),
        ("nobody", "InvalidAccessKeyID"),
        ("another token", "AccessDenied"),
    ):
        older = Client(key, signature_algorithm="v2")
        refused(403, code, f"v2, {key}: look", older.look)
        refused(403, code, f"v2, {key}: make", lambda older=older: older.make("before"))

# Last of all, as the SDK's clock is turned: 15 minutes off is the most.
for off_s, is_allowed in ((-14 * 60, True), (14 * 60, True), (-16 * 60, False), (16 * 60, False)):
    client.at(time.time() + off_s)
    if is_allowed:
        client.look()
        assert client.invoke(b"abc") == b"cba"
    else:
        each(403, "AccessDenied", f"a clock that is {off_s:+d} s off", client)
client.at(time.time())
client.remove()
