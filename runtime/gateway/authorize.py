"""Whether a signed request may enter: an invocation, or a trigger of authType function.

The gateway knows the access keys from the feed, with their secrets sealed, and opens them with the data folder's
secret.key; the local key it reads from the credentials file.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import NamedTuple

from runtime.access.admit import admit, replayed
from runtime.access.jwt import JwtConfig, TokenRefused, check_token, find_token, has_kid, passed_claims
from runtime.access.local import LocalKey
from runtime.access.records import AccessKey, KeyRecord, unsealed
from runtime.access.roles import Need, Right
from runtime.access.sealing import Box, SealBroken, read_box
from runtime.access.shared_nonces import SharedNonces
from runtime.gateway.headers import RequestHead as RequestFields
from runtime.gateway.key_sets import KeySets
from runtime.gateway.refusal import Refusal, unavailable
from runtime.http.exchange import Exchange
from runtime.signature import BodyDigest, RequestHead, SignatureRefused, read_claim

log = logging.getLogger(__name__)


class Keyring:
    """The access keys. Each is opened when it is first used."""

    def __init__(self, local: LocalKey, box_path: Path) -> None:
        self._local = local
        self._box_path = box_path
        self._box: Box | None = None
        self._records: dict[str, KeyRecord] = {}
        self._open: dict[str, AccessKey] = {}

    def put(self, record: KeyRecord) -> None:
        self._records[record.access_key_id] = record
        self._open.pop(record.access_key_id, None)

    def remove(self, access_key_id: str) -> None:
        self._records.pop(access_key_id, None)
        self._open.pop(access_key_id, None)

    def clear(self) -> None:
        self._records.clear()
        self._open.clear()

    def find(self, access_key_id: str) -> AccessKey | None:
        """Raises Refusal (503) for a key that this gateway has no means to open."""
        local = self._local.find(access_key_id)
        if local is not None:
            return local
        found = self._open.get(access_key_id)
        if found is None:
            record = self._records.get(access_key_id)
            if record is None:
                return None
            found = self._open[access_key_id] = self._opened(record)
        return found

    def _opened(self, record: KeyRecord) -> AccessKey:
        try:
            if self._box is None:
                self._box = read_box(self._box_path)
            return unsealed(self._box, record)
        except (OSError, ValueError, SealBroken) as error:
            log.error("key-unreadable id=%s error=%r", record.access_key_id, str(error))
            message = f"access key '{record.access_key_id}' cannot be read by this gateway"
            raise Refusal(503, "ServiceUnavailable", message) from None


class Admission(NamedTuple):
    """A signature that holds, and what is left to see to."""

    access_key_id: str
    nonce: str  # new as far as this process knows; "" where the scheme has none
    body: BodyDigest | None  # what the body must be


class Doorkeeper:
    """Checks signatures against the keyring, and the nonces that this process remembers."""

    def __init__(self, keys: Keyring, nonces: SharedNonces) -> None:
        self.keys = keys
        self._nonces = nonces

    def check_invocation(self, exchange: Exchange, service: str) -> Admission:
        """Let an invocation of a service's function pass, or not.

        Raises:
            Refusal: with what is wrong about its signature, or that its key may not invoke.
        """
        return self._check(RequestHead.of(_method(exchange), exchange.target, exchange.headers), service)

    def check_trigger(self, exchange: Exchange, target: bytes, base_path: bytes, service: str) -> Admission:
        """As check_invocation, for a trigger; without a signature it is 403, as FC has it."""
        if not any(name.lower() == b"authorization" for name, _ in exchange.headers):
            raise Refusal(403, "AccessDenied", "the trigger asks for a signature: header Authorization is missing")
        head = RequestHead.of(_method(exchange), target, exchange.headers, base_path.decode("latin-1"))
        return self._check(head, service)

    def _check(self, head: RequestHead, service: str) -> Admission:
        now_s = time.time()
        try:
            claim = read_claim(head)
            proof = admit(head, claim, self.keys.find(claim.access_key_id), Need(Right.INVOKE, service), now_s)
            if proof.nonce and not self._nonces.use_here(claim.access_key_id, proof.nonce, now_s):
                raise replayed(proof.nonce)
        except SignatureRefused as refused:
            raise Refusal(refused.status, refused.code, refused.message) from None
        return Admission(claim.access_key_id, proof.nonce, proof.body)


class TokenDoor:
    """Checks the tokens of jwt triggers."""

    def __init__(self, key_sets: KeySets) -> None:
        self._key_sets = key_sets

    def check(self, exchange: Exchange, head: RequestFields, config: JwtConfig, target: bytes) -> None:
        """Let a request pass whose token holds, with the claims that its function is to be told of as headers.

        Raises:
            Refusal: 403 with what is wrong about the token; 503 while the trigger's key set has not been fetched yet.
        """
        keys = self._key_sets.keys(config.url) if config.url else config.keys
        if not keys:
            raise unavailable(f"the key set of the trigger, {config.url}, could not be fetched yet")
        try:
            token = find_token(config, exchange.headers, target.decode("latin-1").partition("?")[2])
            if config.url and not has_kid(keys, token):
                self._key_sets.refresh(config.url)  # a key that is new there: good from the next request on
            claims = check_token(config, keys, token)
        except TokenRefused as refused:
            raise Refusal(403, "AccessDenied", str(refused)) from None
        head.replace({name for name, _ in config.claim_headers}, passed_claims(config, claims))


def _method(exchange: Exchange) -> str:
    return exchange.method.decode("latin-1")
