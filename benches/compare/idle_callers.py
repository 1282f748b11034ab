"""Callers that keep their connection and say nothing: idle_callers.py PORT COUNT TOKEN-FILE.

Each sends one request and waits for its answer; then a JSON line says how many were answered. When standard input ends, each
sends another, and a second line says how many connections still served.
"""

import asyncio
import json
import sys

PORT, COUNT = int(sys.argv[1]), int(sys.argv[2])
TOKEN = open(sys.argv[3]).readline().strip()
REQUEST = (f"POST /flow HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\nAuthorization: Bearer {TOKEN}\r\n"
           "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}").encode()


async def ask(connection, gate):
    reader, writer = connection
    async with gate:
        try:
            writer.write(REQUEST)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    await reader.readexactly(int(line.split(b":")[1]))
            return head.startswith(b"HTTP/1.1 200")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False


async def main():
    gate = asyncio.Semaphore(64)

    async def connect():
        async with gate:
            return await asyncio.open_connection("127.0.0.1", PORT)

    connections = await asyncio.gather(*(connect() for _ in range(COUNT)))
    for _ in range(2):
        answered = sum(await asyncio.gather(*(ask(one, gate) for one in connections)))
        print(json.dumps({"connections": COUNT, "answered": answered}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)


asyncio.run(main())
