"""The bench: tools, certificates, keys, processes and their CPU time and memory. Nothing here knows what is compared."""

import atexit
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
PROXY_CORE, LOAD_CORE = str(CORES[0]), str(CORES[-1])
PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "wrk": "wrk", "h2load": "nghttp2-client", "openssl": "openssl"}


class Lab:
    """Everything one run of the comparison shares. Use it as a context: on the way out every process is gone."""

    def __init__(self, flowgate, helper=None, quick=False):
        self.flowgate, self.helper = flowgate, helper
        self.quick = quick
        self.home = REPOSITORY / "target" / "compare"
        self.raw = {}
        self._running = []

    def __enter__(self):
        # Ten thousand connections need as many file descriptors, in several processes.
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir(parents=True)
        atexit.register(self.stop_all)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        self._make_certificates()
        self._make_keys()
        self.issuer = Issuer(self.jwks)
        return self

    def __exit__(self, *_):
        self.stop_all()
        self.issuer.close()

    # Files

    def file(self, name, text):
        path = self.home / name
        path.write_text(text)
        return path

    def _openssl(self, *arguments):
        return subprocess.run(["openssl", *arguments], cwd=self.home, check=True, capture_output=True)

    def _make_certificates(self):
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        self._openssl("req", "-x509", *curve, "-days", "2", "-subj", "/CN=comparison CA", "-keyout", "ca.key", "-out", "ca.pem",
                      "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
        self._openssl("req", *curve, "-subj", "/CN=localhost", "-keyout", "upstream.key", "-out", "upstream.csr")
        self.file("upstream.ext", "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        self._openssl("x509", "-req", "-in", "upstream.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                      "-extfile", "upstream.ext", "-out", "upstream.pem")

    def _make_keys(self):
        from base64 import urlsafe_b64encode

        def text(raw):
            return urlsafe_b64encode(raw).rstrip(b"=").decode()

        for name, kind in (("RS256", ("RSA", "rsa_keygen_bits:2048")), ("ES256", ("EC", "ec_paramgen_curve:P-256"))):
            self._openssl("genpkey", "-algorithm", kind[0], "-pkeyopt", kind[1], "-out", f"{name}.pem")
            self._openssl("pkcs8", "-topk8", "-nocrypt", "-in", f"{name}.pem", "-outform", "DER", "-out", f"{name}.der")
            self._openssl("pkey", "-in", f"{name}.pem", "-pubout", "-out", f"{name}.pub.pem")
        modulus = self._openssl("rsa", "-pubin", "-in", "RS256.pub.pem", "-noout", "-modulus").stdout.decode().strip().split("=")[1]
        # The last 64 bytes of a P-256 public key in DER are its two coordinates.
        point = self._openssl("pkey", "-pubin", "-in", "ES256.pub.pem", "-outform", "DER").stdout[-64:]
        self.jwks = {"keys": [
            {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "RS256", "n": text(bytes.fromhex(modulus)), "e": "AQAB"},
            {"kty": "EC", "use": "sig", "alg": "ES256", "kid": "ES256", "crv": "P-256", "x": text(point[:32]), "y": text(point[32:])},
        ]}

    def tokens(self, algorithm, count):
        """A file with so many different caller tokens, one per line, signed by the issuer's key."""
        path = self.home / f"{algorithm}-{count}.tokens"
        if not path.exists():
            with path.open("wb") as out:
                subprocess.run([self.helper, "tokens", algorithm, str(self.home / f"{algorithm}.der"), self.issuer.url, str(count)],
                               stdout=out, check=True)
        return path

    # Processes

    def start(self, name, command, core, **options):
        log = (self.home / f"{name}.log").open("wb")
        options.setdefault("stdout", log)
        process = subprocess.Popen(["taskset", "-c", core, *map(str, command)], stdin=options.pop("stdin", subprocess.DEVNULL),
                                   stderr=log, cwd=self.home, start_new_session=True, **options)
        process.label = name
        self._running.append(process)
        return process

    def stop(self, process):
        if process.poll() is None:
            process.terminate()
            try:
                # flowgate serves on for `server.drain_delay`, 5 s.
                process.wait(20)
            except subprocess.TimeoutExpired:
                # Its own session, so this reaches its workers and nobody else's.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process in self._running:
            self._running.remove(process)

    def stop_all(self):
        for process in list(self._running):
            self.stop(process)

    def wait_for_port(self, port, process, seconds=20):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{process.label} does not listen: {(self.home / (process.label + '.log')).read_text()[-600:]}")

    def wait_until_ready(self, url, process, seconds=30):
        deadline = time.monotonic() + seconds
        last = "no answer"
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    if answer.status == 200:
                        return
            except urllib.error.HTTPError as answer:
                last = f"{answer.code} {answer.read(400)!r}"
            except OSError as failure:
                last = str(failure)
            time.sleep(0.05)
        raise RuntimeError(f"{process.label} is not ready: {last}; {(self.home / (process.label + '.log')).read_text()[-600:]}")


def install_missing(*tools):
    # Where Debian has nginx and HAProxy, and where only root looks.
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [PACKAGES[tool] for tool in tools if not shutil.which(tool)]
    if missing:
        print(f"-- installing {' '.join(missing)}", file=sys.stderr)
        subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def family(pid):
    """A process and its children: nginx works in a child of the one that was started."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    found = [pid]
    if children.exists():
        for child in children.read_text().split():
            found += family(int(child))
    return found


def cpu_seconds(process):
    total = 0
    for pid in family(process.pid):
        # The name in brackets may hold spaces; utime and stime are the 14th and 15th field of the line.
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def rss_mib(process):
    total = 0
    for pid in family(process.pid):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total / 1024


class Issuer:
    """An OpenID issuer and a token endpoint on loopback. It counts token requests, and delays them when told to."""

    def __init__(self, jwks):
        self.token_requests = 0
        self.token_delay = 0.0
        lab = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, value):
                body = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                if self.path.startswith("/.well-known/"):
                    self.answer({"issuer": lab.url, "jwks_uri": f"{lab.url}/jwks", "token_endpoint": f"{lab.url}/token"})
                else:
                    self.answer(jwks)

            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                lab.token_requests += 1
                time.sleep(lab.token_delay)
                # As long as Entra ID's: the header is part of what is measured.
                self.answer({"access_token": "e" * 1500, "token_type": "Bearer", "expires_in": 3599})

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
