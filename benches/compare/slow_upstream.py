"""A TLS upstream that answers each request after a fixed time: slow_upstream.py PORT SECONDS CERTIFICATE KEY."""

import asyncio
import ssl
import sys

PORT, SECONDS, CERTIFICATE, KEY = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4]
ANSWER = (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n"
          b"x-ms-workflow-run-id: 08585000000000000000000000000CU00\r\n\r\n{\"accepted\":true}")


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    await reader.readexactly(int(line.split(b":")[1]))
            await asyncio.sleep(SECONDS)
            writer.write(ANSWER)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE, KEY)
    tls.set_alpn_protocols(["http/1.1"])
    # A generous handshake time: thousands of them arrive at once.
    server = await asyncio.start_server(serve, "127.0.0.1", PORT, ssl=tls, backlog=16384, ssl_handshake_timeout=60)
    async with server:
        await server.serve_forever()


asyncio.run(main())
