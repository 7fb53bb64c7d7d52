"""Asks once, and is refused. More arguments: the SDK, what is asked (look, make, invoke), the status, the code."""

import sys

from adapters import SDKS
from common import refused

sdk, asked, status, code = sys.argv[4:]
client = SDKS[sdk]()
ask = {"look": client.look, "make": lambda: client.make("s"), "invoke": lambda: client.invoke(b"x")}[asked]
print(refused(int(status), code, asked, ask))
