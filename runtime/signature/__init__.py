"""Request signatures of FC's clients: how they are made (scheme `FC`), and whether one holds (all three schemes).

Pure: keys and the time are passed in.
"""

from runtime.signature.errors import SKEW_S_MAX, SignatureRefused
from runtime.signature.fc import authorization, sign, string_to_sign
from runtime.signature.request import BodyDigest, RequestHead
from runtime.signature.verify import Claim, Proof, read_claim, verify

__all__ = [
    "SKEW_S_MAX",
    "BodyDigest",
    "Claim",
    "Proof",
    "RequestHead",
    "SignatureRefused",
    "authorization",
    "read_claim",
    "sign",
    "string_to_sign",
    "verify",
]
