"""For tests: an instance in a process of its own, that can be killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

# An instance that can be killed: it answers each request with its body, after 5 ms.
VICTIM = textwrap.dedent("""
    import asyncio, sys

    async def serve(reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\\r\\n\\r\\n")).lower()
                at = head.find(b"content-length: ")
                length = int(head[at + 16 :].split(b"\\r\\n")[0]) if at >= 0 else 0
                body = await reader.readexactly(length)
                await asyncio.sleep(0.005)
                writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main():
        path = sys.argv[1]
        if path.startswith("tcp"):
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            print(server.sockets[0].getsockname()[1], flush=True)
        else:
            server = await asyncio.start_unix_server(serve, path)
            print("ready", flush=True)
        await server.serve_forever()

    asyncio.run(main())
""")


class Victim:
    def __init__(self, directory: Path, name: str, scheme: str) -> None:
        path = str(directory / f"{name}.sock")
        self.process = subprocess.Popen(
            [sys.executable, "-c", VICTIM, path if scheme == "unix" else "tcp"], stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline().decode().strip()
        self.address = f"unix:{path}" if scheme == "unix" else f"tcp:127.0.0.1:{said}"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
