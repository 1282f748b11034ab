"""Python's http.client: refused and good calls in turn over one kept connection. Arguments: the gateway's address and a key."""

import http.client
import sys

host = sys.argv[1].removeprefix("http://")
connection = http.client.HTTPConnection(host, timeout=20)


def post(path, key, body):
    headers = {"X-Api-Key": key} if key else {}
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException) as error:
        print(len(body), path, repr(error), file=sys.stderr)
        connection.close()
        return 0


for size in [10, 300, 10_000, 100_000]:
    body = b"x" * size
    refused = good = 0
    for turn in range(20):
        if turn % 2:
            refused += post("/nowhere", sys.argv[2], body) == 404
        else:
            refused += post("/stub", None, body) == 401
        good += post("/stub", sys.argv[2], body) == 200
    print(size, "refused", refused, "good", good)
