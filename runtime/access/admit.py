"""Whether a request was made by a key that may make it. Pure but for the nonces it is handed."""

from __future__ import annotations

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


def replayed(nonce: str) -> SignatureRefused:
    message = f"header x-acs-signature-nonce '{nonce[:64]}' was used before: each request needs its own"
    return SignatureRefused("SignatureNonceUsed", message)
