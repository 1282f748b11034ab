"""The load: wrk for as fast as it goes, our own caller for a fixed rate, h2load for bursts. It runs on the core the proxy has not."""

import json
import os
import pathlib
import re
import subprocess

from lab import LOAD_CORE, cpu_seconds, rss_mib

HERE = pathlib.Path(__file__).resolve().parent
CONNECTIONS = 32


def closed_loop(endpoint, tokens, seconds, flows=None):
    """wrk on 32 connections; with it the CPU time the proxy took for each request, in microseconds. With `flows`, requests vary."""
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s",
               "-s", str(HERE / "wrk.lua"), endpoint.url]
    vary = {"VARY": "1", "FLOWS": str(flows)} if flows else {}
    before = cpu_seconds(endpoint.process)
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TOKENS": str(tokens), **vary})
    used = cpu_seconds(endpoint.process) - before
    found = re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
    if not found:
        raise RuntimeError(f"wrk: {done.stdout[-300:]} {done.stderr[-300:]}")
    result = json.loads(found.group(1))
    if result["bad_statuses"] or result["broken"]:
        raise RuntimeError(f"{endpoint.process.label}: answers that were no success: {result}")
    result["rate"] = result["requests"] / result["seconds"]
    result["cpu_us"] = used * 1e6 / result["requests"]
    result["core_used"] = used / result["seconds"]
    result["rss_mib"] = rss_mib(endpoint.process)
    return result


def paced(lab, endpoint, tokens, rate, seconds):
    """A fixed number of requests a second, evenly spread over the connections, whatever the answers take; and the CPU time for each."""
    command = ["taskset", "-c", LOAD_CORE, lab.helper, "paced", endpoint.url, str(lab.home / "ca.pem"), str(tokens), str(CONNECTIONS),
               str(rate), str(seconds)]
    before = cpu_seconds(endpoint.process)
    result = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
    used = cpu_seconds(endpoint.process) - before
    if result["failed"]:
        raise RuntimeError(f"failed requests: {result}")
    # The latencies leave out the first second, the CPU time does not.
    result["cpu_us"] = used * 1e6 / (rate * (seconds + 1))
    return result


def h2load(lab, url, tokens, requests, connections, streams, http1=False):
    """Starts so many requests at once, and returns the running process."""
    body = lab.file("body.json", json.dumps("x" * 1022))
    token = tokens.read_text().split("\n", 1)[0]
    command = ["h2load", *(["--h1"] if http1 else []), "-n", requests, "-c", connections, "-m", streams, "-d", body,
               "-H", f"authorization: Bearer {token}", "-H", "content-type: application/json", url]
    return lab.start("h2load", command, LOAD_CORE, stdout=subprocess.PIPE, text=True)


def h2load_result(process, seconds):
    out, _ = process.communicate(timeout=seconds)
    found = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", out)
    requests = re.search(r"requests: (\d+) total.*?(\d+) failed, (\d+) errored, (\d+) timeout", out)
    if not found or not requests:
        raise RuntimeError(f"h2load: {out[-400:]}")
    return {"succeeded": int(found.group(1)), "refused": int(found.group(3)) + int(found.group(4)), "total": int(requests.group(1)),
            "errored": int(requests.group(3)) + int(requests.group(4))}
