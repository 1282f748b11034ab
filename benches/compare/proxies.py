"""What is compared: the one upstream behind all, and in front of it nginx, HAProxy and flowgate, each set up as its manual advises."""

import json
import os
import re
import sys
import time
import urllib.parse
import urllib.request

from lab import LOAD_CORE, PROXY_CORE, free_port

RUN_ID = "08585000000000000000000000000CU00"

NGINX_HEAD = """
worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
pid {home}/{name}.pid;
error_log {home}/{name}.error.log warn;
events {{ worker_connections 18000; multi_accept on; }}
http {{
  access_log {access_log};
  client_body_temp_path {home}/{name}.body; proxy_temp_path {home}/{name}.proxy; fastcgi_temp_path {home}/{name}.f;
  uwsgi_temp_path {home}/{name}.u; scgi_temp_path {home}/{name}.s;
  keepalive_requests 100000000; keepalive_timeout 600s;
"""

UPSTREAM = NGINX_HEAD + """
  http2_max_concurrent_streams 1000; http2_max_requests 100000000;
  server {{
    listen 127.0.0.1:{port} ssl{http2} backlog=16384;
    ssl_certificate {home}/upstream.pem; ssl_certificate_key {home}/upstream.key;
    location / {{
      default_type application/json;
      add_header x-ms-workflow-run-id {run_id};
      return 200 '{{"accepted":true}}';
    }}
  }}
}}
"""

NGINX = NGINX_HEAD + """
  upstream flows {{ server localhost:{upstream}; keepalive 128; keepalive_requests 100000000; keepalive_timeout 600s; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass https://flows;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host localhost:{upstream};
      proxy_ssl_verify on; proxy_ssl_verify_depth 2; proxy_ssl_trusted_certificate {home}/ca.pem;
      proxy_ssl_name localhost; proxy_ssl_server_name on; proxy_ssl_session_reuse on;
    }}
  }}
}}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 120s
  timeout server 120s
  option http-keep-alive
  http-reuse always
frontend callers
  bind 127.0.0.1:{port}
  http-request set-var(txn.bearer) http_auth_bearer
  http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
  http-request set-var(txn.iss) var(txn.bearer),jwt_payload_query('$.iss')
  http-request set-var(txn.aud) var(txn.bearer),jwt_payload_query('$.aud')
  http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny deny_status 401 unless {{ var(txn.alg) -m str RS256 }}
  http-request deny deny_status 401 unless {{ var(txn.iss) -m str {issuer} }}
  http-request deny deny_status 401 unless {{ var(txn.aud) -m str flowgate }}
  http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}
  http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify(txn.alg,"{home}/RS256.pub.pem") -m int 1 }}
  http-request set-header Authorization "Bearer {token}"
  http-request set-header Host localhost:{upstream}
  default_backend flows
backend flows
  server flow 127.0.0.1:{upstream} ssl verify required ca-file {home}/ca.pem sni str(localhost) verifyhost localhost
"""


class Endpoint:
    """Something that listens: its process, and the URL of its first flow."""

    def __init__(self, process, url, admin=None):
        self.process, self.url, self.admin = process, url, admin


def upstream(lab, http2=False):
    """nginx, answering at once over TLS. It shares the core of the load, never the proxy's."""
    name, port = ("upstream-h2" if http2 else "upstream"), free_port()
    config = lab.file(f"{name}.conf", UPSTREAM.format(home=lab.home, name=name, port=port, http2=" http2" if http2 else "",
                                                      access_log="off", run_id=RUN_ID))
    process = lab.start(name, ["nginx", "-c", config, "-e", lab.home / f"{name}.error.log"], LOAD_CORE)
    lab.wait_for_port(port, process)
    return Endpoint(process, f"https://localhost:{port}/flow")


def slow_upstream(lab, seconds):
    """Answers every request over TLS after so many seconds."""
    port = free_port()
    script = __file__.replace("proxies.py", "slow_upstream.py")
    process = lab.start("slow-upstream", [sys.executable, script, port, seconds, lab.home / "upstream.pem", lab.home / "upstream.key"],
                        LOAD_CORE)
    lab.wait_for_port(port, process)
    return Endpoint(process, f"https://localhost:{port}/flow")


def port_of(url):
    return url.split(":")[2].split("/")[0]


def nginx(lab, behind, access_log=False):
    """A plain TLS reverse proxy with kept-alive, verified upstream connections: no authentication at all."""
    name, port = ("nginx-logging" if access_log else "nginx"), free_port()
    config = lab.file(f"{name}.conf", NGINX.format(home=lab.home, name=name, port=port, upstream=port_of(behind.url),
                                                   access_log=f"{lab.home}/{name}.access.log" if access_log else "off"))
    process = lab.start(name, ["nginx", "-c", config, "-e", lab.home / f"{name}.error.log"], PROXY_CORE)
    lab.wait_for_port(port, process)
    return Endpoint(process, f"http://127.0.0.1:{port}/flow")


def haproxy(lab, behind):
    """jwt_verify of an RS256 token and a fixed bearer for the upstream: it cannot fetch one."""
    port = free_port()
    config = lab.file("haproxy.cfg", HAPROXY.format(home=lab.home, port=port, upstream=port_of(behind.url), issuer=lab.issuer.url,
                                                    token="e" * 1500))
    process = lab.start("haproxy", ["haproxy", "-db", "-f", config], PROXY_CORE)
    lab.wait_for_port(port, process)
    return Endpoint(process, f"http://127.0.0.1:{port}/flow")


class Entra:
    """A simulated Entra ID, one of its users, and the application that stands for the gateway."""

    TENANT, APPLICATION, PUBLIC = (f"{start}-0000-4000-8000-00000000000{end}" for start, end in (("8f3b0000", 1), ("22220000", 1), ("22220000", 2)))

    def __init__(self, lab):
        port = free_port()
        printed = lab.home / "entra.txt"
        # What it does is not a gateway's work: benches/pgo must not learn from it.
        process = lab.start("entra", [lab.flowgate, "simulate", "--listen", f"127.0.0.1:{port}"], LOAD_CORE, stdout=printed.open("wb"),
                            env={**os.environ, "LLVM_PROFILE_FILE": os.devnull})
        lab.wait_for_port(port, process)
        deadline = time.monotonic() + 5
        while "Ctrl-C" not in printed.read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        said = dict(re.findall(r"^export (\w+)='?([^'\n]*)", printed.read_text(), re.MULTILINE))
        self.authority, self.secret, self.password = said["ENTRA_AUTHORITY"], said["FLOWS_SECRET"], said["USER_PASSWORD"]

    def user_token(self, lab):
        """A file with a user's token for the application."""
        form = {"grant_type": "password", "client_id": self.PUBLIC, "username": "user@flowgate.example", "password": self.password,
                "scope": f"{self.APPLICATION}/.default"}
        url = f"{self.authority}/{self.TENANT}/oauth2/v2.0/token"
        with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode(), timeout=5) as answer:
            return lab.file("user.tokens", json.loads(answer.read())["access_token"] + "\n")

    def configuration(self, kind):
        """Callers are users; the credential is of this kind, its proof the same secret."""
        return {
            "defaults": {"entra": {"tenant": self.TENANT, "authority": self.authority}},
            "callers": {"load": {"entra": {"audience": [self.APPLICATION]}}},
            "credentials": {"own": {kind: {"client_id": self.APPLICATION, "secret": self.secret}}},
        }


def flowgate(lab, behind, name="flowgate", access_log=False, flows=1, ready=True, entra=None, **server):
    """flowgate as it is deployed: caller tokens checked, its own token obtained and injected, metrics on. `entra`: other callers and
    credentials than the usual ones."""
    port, admin = free_port(), free_port()
    flow = {"url": behind.url, "who_can_trigger": ["load"], "credential": "own", "timeout": "130s", "allow_host": True}
    config = {
        "server": {"listen": f"127.0.0.1:{port}", **server},
        "admin": {"listen": f"127.0.0.1:{admin}"},
        "outbound": {"ca": str(lab.home / "ca.pem")},
        "log": {"level": "info" if access_log else "warn", "format": "json", "access": access_log},
        "callers": {"load": {"jwt": {"issuer": lab.issuer.url, "audience": "flowgate"}}},
        "credentials": {"own": {"client_secret": {"token_url": f"{lab.issuer.url}/token", "client_id": "flowgate",
                                                  "secret": {"env": "COMPARE_SECRET"}, "scope": "flows"}}},
        "flows": {f"flow-{number}" if number else "flow": flow for number in range(flows)},
        **(entra or {}),
    }
    # JSON is YAML.
    path = lab.file(f"{name}.yaml", json.dumps(config, indent=1))
    options = {"env": {**os.environ, "COMPARE_SECRET": "a-secret-of-the-comparison"}}
    if access_log:
        options["stdout"] = (lab.home / f"{name}.access.log").open("wb")
    process = lab.start(name, [lab.flowgate, "serve", "--config", path], PROXY_CORE, **options)
    if ready:
        lab.wait_until_ready(f"http://127.0.0.1:{admin}/readyz", process)
    else:
        lab.wait_for_port(port, process)
    return Endpoint(process, f"http://127.0.0.1:{port}/flow", f"http://127.0.0.1:{admin}")


def metrics(gate):
    with urllib.request.urlopen(f"{gate.admin}/metrics", timeout=5) as answer:
        return answer.read().decode()


def wait_for_key_set(gate):
    deadline = time.monotonic() + 5
    while not re.search(r'^flowgate_key_set_refreshes_total\{.*result="ok".*\} [1-9]', metrics(gate), re.MULTILINE):
        if time.monotonic() > deadline:
            raise RuntimeError("the gateway has not fetched the issuer's keys")
        time.sleep(0.02)


def outcomes(gate):
    """How the gateway itself counted what became of the requests: outcome → number."""
    found = {}
    for labels, value in re.findall(r"^flowgate_requests_total\{(.*)\} (\S+)$", metrics(gate), re.MULTILINE):
        outcome = re.search(r'outcome="([^"]*)"', labels).group(1)
        found[outcome] = found.get(outcome, 0) + int(float(value))
    return found
