"""A started `strata serve` and the clients that try it: what all files here share. Python's standard library only.

A file's claims are its functions under @claim; one that takes `server` gets the file's shared server, one that takes
none starts its own. Usage of every file: FILE.py STRATA MODEL [CLAIM...]
"""
import concurrent.futures
import http.client
import inspect
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback

STRATA, MODEL = sys.argv[1:3]
# Times on a machine that does other work too; 1 holds every claim to the time it names.
PATIENCE = float(os.environ.get("STRATA_TEST_PATIENCE", "5"))
FRANCE = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "seed": 7}
CHAT = "/v1/chat/completions"
MIB = 1 << 20


class Server:
    """One process on a port of its own; `with` ends it."""

    def __init__(self, *flags, env=None, model=MODEL, before=None):
        """`before`: runs in the child before the program, as for limits."""
        self.process = subprocess.Popen([STRATA, "serve", model, "--port", "0", *flags], stderr=subprocess.PIPE,
                                        text=True, env={**os.environ, **(env or {})}, preexec_fn=before)
        self.log = []
        self.port = None
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"ready     http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found.group(1))
                break
        if not self.port:
            raise AssertionError("no server: " + "".join(self.log))
        self.reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if kind:
            print("".join(self.log[-20:]), file=sys.stderr)

    def ask(self, method, path, body=None, headers=None, timeout=30 * PATIENCE):
        """(status, headers by their lower-case names, body as text)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        data = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, text

    def chat(self, **fields):
        """The answer to FRANCE with these fields, as text."""
        status, _, text = self.ask("POST", CHAT, {**FRANCE, **fields})
        assert status == 200, text
        return text

    def client(self, **options):
        return Client(self.port, **options)

    def metrics(self, headers=None):
        """Values by their names with labels, as Prometheus reads them."""
        lines = self.ask("GET", "/metrics", headers=headers)[2].splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    def metric(self, name, **labels):
        """The sum of a metric's series that have these labels."""
        series = re.compile(re.escape(name) + r"(\{.*\})?$")
        wanted = [f'{k}="{v}"' for k, v in labels.items()]
        values = [v for k, v in self.metrics().items() if series.match(k) and all(w in k for w in wanted)]
        assert values, f"no metric {name} {labels}"
        return sum(values)

    def running(self):
        return self.metric("strata_num_requests_running")

    def waiting(self):
        return self.metric("strata_num_requests_waiting")

    def wait_until_idle(self, seconds=1.0):
        """Nothing runs, nothing waits."""
        wait_until(lambda: self.running() == 0 and self.waiting() == 0, seconds, "the engine is idle")

    def rss(self):
        """Resident bytes."""
        with open(f"/proc/{self.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def end(self, sig=signal.SIGTERM, timeout=40 * PATIENCE):
        """Sends the signal; its exit code."""
        self.process.send_signal(sig)
        return self.wait(timeout)

    def wait(self, timeout):
        """Its exit code; then `log` is whole."""
        code = self.process.wait(timeout)
        self.reader.join(5)
        return code


class Client:
    """A connection as bytes, for what no HTTP library would send or bear."""

    def __init__(self, port, receive_buffer=0, timeout=20 * PATIENCE):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def ask(self, method, path, body=None, fields=()):
        """Sends a request; `body`: bytes, or what becomes JSON."""
        self.send(request(method, path, body, fields))

    def head(self):
        """(status, fields), None at the connection's end."""
        line = self.file.readline()
        if not line:
            return None
        assert re.fullmatch(rb"HTTP/1\.1 \d{3} [A-Za-z ]+\r\n", line), line
        fields = {}
        while (field := self.file.readline()) != b"\r\n":
            assert field.endswith(b"\r\n"), field
            name, value = field.decode("ascii").split(":", 1)
            fields[name.lower()] = value.strip()
        return int(line[9:12]), fields

    def chunk(self):
        """One chunk of a chunked body, b"" at its end."""
        size = int(self.file.readline(), 16)
        data = self.file.read(size)
        assert self.file.read(2) == b"\r\n"
        return data

    def response(self, method="GET"):
        """(status, fields, body), None at the connection's end."""
        if not (head := self.head()):
            return None
        status, fields = head
        if method == "HEAD" or status in (204, 304):
            return status, fields, b""
        if "content-length" in fields:
            return status, fields, self.file.read(int(fields["content-length"]))
        if fields.get("transfer-encoding") == "chunked":
            body = b""
            while data := self.chunk():
                body += data
            return status, fields, body
        return status, fields, self.file.read()

    def closed(self):
        """Waits for the server to close; whether it sent nothing more."""
        try:
            return self.file.read() == b""
        except ConnectionResetError:
            return True


def request(method, path, body=None, fields=()):
    """A request's bytes; a body without Content-Length or Transfer-Encoding among `fields` gets its length."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", *fields]
    names = {field.split(":")[0].lower() for field in fields}
    if "host" not in names:
        lines.append("Host: localhost")
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        lines += [f"Content-Length: {len(data)}", "Content-Type: application/json"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data


def long_answer(tokens=3500, **fields):
    """A request whose answer takes a second or more."""
    return {**FRANCE, "ignore_eos": True, "max_tokens": tokens, **fields}


def long_prompt(words=3300):
    return [{"role": "user", "content": "word " * words}]


def events(body):
    """The JSON of a stream's events; the last must be [DONE]."""
    data = [e[6:] for e in body.split("\n\n") if e.startswith("data: ")]
    assert data and data[-1] == "[DONE]", body[-200:]
    return [json.loads(e) for e in data[:-1]]


def streamed_text(chunks):
    """What the chunks of a stream say: (content, reasoning)."""
    deltas = [c["delta"] for chunk in chunks for c in chunk.get("choices", ())]
    return ("".join(d.get("content") or "" for d in deltas), "".join(d.get("reasoning") or "" for d in deltas))


def checked_error(status, text, wanted=None):
    """The error object, which has the four keys and a sentence; its status is one of `wanted`."""
    assert wanted is None or status in (wanted if isinstance(wanted, tuple) else (wanted,)), (status, text[:300])
    error = json.loads(text)["error"]
    assert set(error) >= {"message", "type", "param", "code"} and error["message"], text
    assert error["code"] is None or isinstance(error["code"], str), text
    return error


def wait_until(condition, seconds, what):
    """`seconds`: on a machine that has nothing else to do."""
    end = time.monotonic() + seconds * PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds * PATIENCE} s: {what}")
        time.sleep(0.002)


def refused(server, body, status=400, path=CHAT, param=None):
    """The error; its `param` begins with the wanted one."""
    found, _, text = server.ask("POST", path, body)
    error = checked_error(found, text, status)
    assert param is None or (error["param"] or "").startswith(param), (param, text)
    return error


def chat_with(**fields):
    return {**FRANCE, "max_tokens": 1, **fields}


def end_of(*arguments, timeout=60):
    """What a server that doesn't start says."""
    return subprocess.run([STRATA, "serve", *arguments], capture_output=True, text=True, timeout=timeout)


def together(*calls):
    """Runs the calls at the same time; their results, or the first's exception that failed."""
    results = [None] * len(calls)
    failures = []

    def run(i):
        try:
            results[i] = calls[i]()
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]
    return results


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p))]


claims = []


def claim(function):
    claims.append(function)
    return function


def run(*flags, **options):
    """Runs the file's claims, or those named, and ends the program. Those that take a server share one with `flags` and
    come one after the other; those that start their own wait more than they work and run beside them."""
    wanted = sys.argv[3:]
    chosen = [c for c in claims if not wanted or any(c.__name__.startswith(w) for w in wanted)]
    failed = []

    def check(function, *arguments):
        began = time.monotonic()
        try:
            function(*arguments)
            print(f"ok {function.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception:
            failed.append(function.__name__)
            print(f"FAILED {function.__name__}\n{traceback.format_exc()}", file=sys.stderr, flush=True)

    shared = [c for c in chosen if inspect.signature(c).parameters]
    with concurrent.futures.ThreadPoolExecutor(3) as beside:
        for c in chosen:
            if c not in shared:
                beside.submit(check, c)
        if shared:
            with Server(*flags, **options) as server:
                for c in shared:
                    check(c, server)
                    assert server.process.poll() is None, f"the server ended with {server.process.returncode}"
                if failed:
                    print("".join(server.log[-30:]), file=sys.stderr)
                assert server.end() == 0, "SIGTERM does not end it with 0"
    sys.exit(1 if failed else 0)
