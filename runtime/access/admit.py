"""Whether a request was made by a key that may make it. Pure but for the nonces it is handed."""

from __future__ import annotations

import hmac

from runtime.access.records import AccessKey
from runtime.access.roles import Need
from runtime.signature import Claim, Proof, RequestHead, SignatureRefused, verify


def admit(head: RequestHead, claim: Claim, key: AccessKey | None, need: Need, now_s: float) -> Proof:
    """Check the claim of a request against the key that it names (None: there is no such key).

    The nonce is the caller's to spend, after this has returned.

    Raises:
        SignatureRefused: with FC's code and what is wrong.
    """
    if key is None:
        raise SignatureRefused("InvalidAccessKeyID", f"access key id '{claim.access_key_id[:100]}' does not exist")
    proof = verify(head, claim, secret=key.secret, token=key.token, now_s=now_s)
    # Only whoever has the secret is told what becomes of the key.
    if not key.enabled:
        raise SignatureRefused("InvalidAccessKeyID", f"access key id '{claim.access_key_id}' is disabled")
    refusal = key.access.refusal(need)
    if refusal:
        raise SignatureRefused("AccessDenied", refusal)
    return proof


def admit_by_secret(key_id: str, secret: str, key: AccessKey | None, need: Need) -> AccessKey:
    """Check a secret that was given itself, in HTTP Basic.

    Raises:
        SignatureRefused: AccessDenied, with what is wrong.
    """
    if key is None or not key.enabled or not hmac.compare_digest(key.secret.encode(), secret.encode()):
        raise SignatureRefused("AccessDenied", f"access key '{key_id[:100]}' and its secret do not go together")
    refusal = key.access.refusal(need)
    if refusal or key.token:
        raise SignatureRefused("AccessDenied", refusal or f"access key '{key_id}' has a token: it must sign")
    return key


def replayed(nonce: str) -> SignatureRefused:
    message = f"header x-acs-signature-nonce '{nonce[:64]}' was used before: each request needs its own"
    return SignatureRefused("SignatureNonceUsed", message)
