"""One function per row of the table. Each returns lines of it: (what, target, measured, met or None)."""

import json
import statistics
import subprocess
import sys
import time

import load
import proxies
from lab import LOAD_CORE, cpu_seconds, rss_mib


def median(values):
    return statistics.median(values)


def alternating(lab, endpoints, tokens, row):
    """Rounds in which each takes its turn, in changing order; the first, short, round only warms up."""
    rounds, seconds = (2, 2) if lab.quick else (5, 8)
    results = {name: [] for name in endpoints}
    for name, endpoint in endpoints.items():
        load.closed_loop(endpoint, tokens, 2)
    order = list(endpoints)
    for _ in range(rounds):
        for name in order:
            results[name].append(load.closed_loop(endpoints[name], tokens, seconds))
            print(f"   {name}: {json.dumps(results[name][-1])}", file=sys.stderr, flush=True)
        order = order[1:] + order[:1]
    lab.raw[row] = results
    return results


def ratio(results, one, other, what):
    return median([a[what] / b[what] for a, b in zip(results[one], results[other])])


def summary(results):
    lines = []
    for name, rounds in results.items():
        middle = {key: median([one[key] for one in rounds]) for key in rounds[0]}
        lines.append((f"  {name}", "", "{cpu_us:.1f} µs CPU per request, {rate:,.0f} requests/s, p50 {p50_us:.0f} µs, p99 {p99_us:.0f} µs, "
                      "RSS {rss_mib:.1f} MiB, {core_used:.0%} of its core".format(**middle), None))
    return lines


def compared(results, one, other, target, what):
    value = ratio(results, one, other, "cpu_us")
    others = (f"requests/s {ratio(results, one, other, 'rate'):.2f} ×, p50 {ratio(results, one, other, 'p50_us'):.2f} ×, "
              f"p99 {ratio(results, one, other, 'p99_us'):.2f} ×, RSS {ratio(results, one, other, 'rss_mib'):.1f} ×")
    return (what, f"≤ {target} × CPU per request", f"**{value:.2f} ×** CPU per request; {others}", value <= target)


def cpu(lab):
    tokens = lab.tokens("RS256", 1)
    behind = proxies.upstream(lab)
    endpoints = {"flowgate": proxies.flowgate(lab, behind), "nginx": proxies.nginx(lab, behind), "haproxy": proxies.haproxy(lab, behind)}
    results = alternating(lab, endpoints, tokens, "cpu")
    return [compared(results, "flowgate", "nginx", 1.1, "flowgate (RS256 caller token checked, own token injected, metrics) "
                     "against nginx without authentication"),
            compared(results, "flowgate", "haproxy", 0.4, "the same against HAProxy `jwt_verify`"), *summary(results)]


def logs(lab):
    tokens = lab.tokens("RS256", 1)
    behind = proxies.upstream(lab)
    endpoints = {"flowgate": proxies.flowgate(lab, behind, "flowgate-logging", access_log=True),
                 "nginx": proxies.nginx(lab, behind, access_log=True)}
    results = alternating(lab, endpoints, tokens, "logs")
    return [compared(results, "flowgate", "nginx", 1.2, "access log on, against nginx with its own on"), *summary(results)]


def latency(lab):
    tokens = lab.tokens("RS256", 1)
    behind = proxies.upstream(lab)
    endpoints = {"direct": behind, "flowgate": proxies.flowgate(lab, behind), "nginx": proxies.nginx(lab, behind)}
    rounds, seconds = (2, 3) if lab.quick else (5, 10)
    results = {name: [] for name in endpoints}
    for _ in range(rounds):
        for name, endpoint in endpoints.items():
            results[name].append(load.paced(lab, endpoint, tokens, 3000, seconds))
            print(f"   {name}: {json.dumps(results[name][-1])}", file=sys.stderr, flush=True)
    lab.raw["latency"] = results

    def added(name, what):
        return median([a[what] - b[what] for a, b in zip(results[name], results["direct"])]) / 1000

    value = added("flowgate", "p99_us")
    return [("added p99 over going direct, at 3,000 requests/s", "≤ 0.5 ms",
             f"**{value:.2f} ms** (p50 {added('flowgate', 'p50_us'):.2f} ms; nginx adds {added('nginx', 'p99_us'):.2f} ms, "
             f"p50 {added('nginx', 'p50_us'):.2f} ms; direct p99 {median([one['p99_us'] for one in results['direct']]) / 1000:.2f} ms)",
             value <= 0.5),
            ("CPU per request against nginx, both at 3,000 requests/s", "",
             f"**{ratio(results, 'flowgate', 'nginx', 'cpu_us'):.2f} ×** ("
             f"{median([one['cpu_us'] for one in results['flowgate']]):.1f} against {median([one['cpu_us'] for one in results['nginx']]):.1f} µs)", None)]


def burst(lab):
    """Ten thousand first requests while the first token is still on its way. The issuer's keys are there already: until then callers
    wait in the small queue of those nobody knows, which is meant to overflow."""
    count = 1000 if lab.quick else 10000
    tokens = lab.tokens("RS256", 1)
    behind = proxies.upstream(lab, http2=True)
    lab.issuer.token_requests, lab.issuer.token_delay = 0, 6.0
    try:
        gate = proxies.flowgate(lab, behind, "flowgate-burst", ready=False, max_in_flight=20000, max_connections=20000)
        proxies.wait_for_key_set(gate)
        calls = load.h2load(lab, gate.url, tokens, count, count // 100, 100)
        highest = watch_memory(gate.process, calls, 60)
        result = load.h2load_result(calls, 60)
        outcomes = proxies.outcomes(gate)
    finally:
        lab.issuer.token_delay = 0.0
    result.update(token_requests=lab.issuer.token_requests, rss_mib=highest, outcomes=outcomes)
    lab.raw["burst"] = result
    good = result["succeeded"] == count and result["token_requests"] == 1
    return [(f"{count:,} simultaneous first requests on an empty cache (HTTP/2 streams)", "one token request, no failure",
             f"{result['token_requests']} token request(s), {result['succeeded']:,} answered well, {result['refused']:,} refused, "
             f"{result['total'] - result['succeeded'] - result['refused']:,} lost; RSS at most {highest:.0f} MiB"
             + ("" if good else f"; outcomes {json.dumps(outcomes)}"), good)]


def watch_memory(process, other, seconds):
    """The most memory `process` used until `other` ended."""
    highest, deadline = 0.0, time.monotonic() + seconds
    while process.poll() is None and other.poll() is None and time.monotonic() < deadline:
        highest = max(highest, rss_mib(process))
        time.sleep(0.2)
    return highest


def drain(lab):
    """Two thousand calls wait for their slow flow; half-way the gateway is told to stop."""
    count, seconds = (200, 6) if lab.quick else (2000, 60)
    tokens = lab.tokens("RS256", 1)
    behind = proxies.slow_upstream(lab, seconds)
    gate = proxies.flowgate(lab, behind, "flowgate-drain", max_in_flight=4000)
    calls = load.h2load(lab, gate.url, tokens, count, count, 1, http1=True)
    course, started = [], time.monotonic()
    while time.monotonic() - started < seconds / 2:
        course.append(rss_mib(gate.process))
        time.sleep(0.5)
    gate.process.terminate()
    highest, resting = max(course), course[-1]
    highest = max(highest, watch_memory(gate.process, calls, seconds * 2))
    result = load.h2load_result(calls, seconds * 2)
    code = gate.process.wait(30)
    result.update(rss_mib=highest, resting_mib=resting, course=course, exit_code=code)
    lab.raw["drain"] = result
    good = highest <= 150 and result["succeeded"] == count and code == 0
    return [(f"{count:,} calls in flight, each answered after {seconds} s, SIGTERM half-way", "RSS ≤ 150 MB, none lost",
             f"RSS at most **{highest:.0f} MiB** ({resting:.0f} MiB half-way), {result['succeeded']:,} of {count:,} answered, exit code {code}", good)]


def idle(lab):
    count = 1000 if lab.quick else 10000
    tokens = lab.tokens("RS256", 1)
    gate = proxies.flowgate(lab, proxies.upstream(lab), "flowgate-idle", max_connections=count + 100)
    time.sleep(2)
    alone = rss_mib(gate.process)
    script = __file__.replace("rows.py", "idle_callers.py")
    callers = lab.start("idle-callers", [sys.executable, script, gate.url.split(":")[2].split("/")[0], count, tokens], LOAD_CORE,
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    first = json.loads(callers.stdout.readline())
    time.sleep(2)
    before = cpu_seconds(gate.process)
    time.sleep(3)
    resting = (cpu_seconds(gate.process) - before) / 3
    full = rss_mib(gate.process)
    callers.stdin.write("\n")
    callers.stdin.flush()
    second = json.loads(callers.stdout.readline())
    lab.raw["idle"] = {"rss_mib": alone, "with_callers_mib": full, "first": first, "second": second, "core_used": resting}
    return [("RSS idle", "≤ 20 MB", f"**{alone:.1f} MiB**", alone <= 20),
            (f"RSS with {count:,} idle keep-alive callers", "≤ 150 MB",
             f"**{full:.1f} MiB**; {first['answered']:,} answered, {second['answered']:,} again on the same connections; "
             f"{resting:.1%} of a core while idle", full <= 150 and second["answered"] == count)]


def flat(lab, what, few, many, row):
    """The cost of each request with few and with many, alternating; flat means within ten per cent."""
    rounds, seconds = (2, 2) if lab.quick else (5, 8)
    results = {"few": [], "many": []}
    for _ in range(rounds):
        for name, (gate, tokens, flows) in (("few", few), ("many", many)):
            results[name].append(load.closed_loop(gate, tokens, seconds, flows))
            print(f"   {name}: {json.dumps(results[name][-1])}", file=sys.stderr, flush=True)
    lab.raw[row] = results
    value = ratio(results, "many", "few", "cpu_us")
    few_rss, many_rss = (median([one["rss_mib"] for one in results[name]]) for name in ("few", "many"))
    return (what, "flat (± 10 %)", f"**{value:.2f} ×** CPU per request; RSS {few_rss:.1f} → {many_rss:.1f} MiB", value <= 1.1)


def flows(lab):
    tokens = lab.tokens("RS256", 1)
    behind = proxies.upstream(lab)
    few, many = proxies.flowgate(lab, behind, "flowgate-1"), proxies.flowgate(lab, behind, "flowgate-1000", flows=1000)
    for gate, number in ((few, 1), (many, 1000)):
        load.closed_loop(gate, tokens, 2, number)
    return [flat(lab, "cost per request from 1 to 1,000 flows", (few, tokens, 1), (many, tokens, 1000), "flows")]


def tokens(lab):
    count = 5000 if lab.quick else 100000
    one, every = lab.tokens("ES256", 1), lab.tokens("ES256", count)
    behind = proxies.upstream(lab)
    few, many = proxies.flowgate(lab, behind, "flowgate-1"), proxies.flowgate(lab, behind, "flowgate-tokens", verified_tokens=count)
    load.closed_loop(few, one, 2, 1)
    # Until each has been seen once.
    seen = 0
    while seen < count * 1.1:
        seen = max(seen, load.closed_loop(many, every, 4 if lab.quick else 25, 1)["requests"])
    return [flat(lab, f"cost per request from 1 to {count:,} distinct caller tokens already seen", (few, one, 1), (many, every, 1), "tokens")]


def kinds(lab):
    entra = proxies.Entra(lab)
    tokens = entra.user_token(lab)
    behind = proxies.upstream(lab)
    endpoints = {kind: proxies.flowgate(lab, behind, kind, entra=entra.configuration(kind)) for kind in ("on_behalf_of", "client_secret")}
    results = alternating(lab, endpoints, tokens, "kinds")
    return [compared(results, "on_behalf_of", "client_secret", 1.05, "a caller's own token exchanged against the application's"),
            *summary(results)]


ROWS = {"cpu": cpu, "logs": logs, "latency": latency, "burst": burst, "drain": drain, "idle": idle, "flows": flows, "tokens": tokens, "kinds": kinds}
