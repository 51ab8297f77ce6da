#!/usr/bin/env python3
"""Who may ask: keys on every route, names and origins, and what the log says of it."""
import json
import os
import signal
import stat
import subprocess
import tempfile

from harness import CHAT, FRANCE, MODEL, STRATA, Server, checked_error, claim, run, wait_until

KEY = "a-secret-key"
OPEN = (("GET", "/"), ("GET", "/health"), ("GET", "/ready"))
GUARDED = (("GET", "/v1/models"), ("GET", "/v1/models/demo"), ("POST", CHAT), ("POST", "/v1/completions"),
           ("GET", "/metrics"), ("GET", "/props"), ("GET", "/version"), ("POST", "/tokenize"), ("POST", "/detokenize"),
           ("POST", "/apply-template"), ("DELETE", "/v1/requests/x"), ("POST", "/v1/embeddings"), ("POST", "/v1/rerank"),
           ("POST", "/rerank"), ("POST", "/v1/audio/transcriptions"), ("POST", "/v1/images/generations"),
           ("GET", "/nothing"), ("GET", CHAT), ("HEAD", "/metrics"), ("PUT", "/v1/models"), ("POST", "/health"))


@claim
def F25_keys_guard_every_route_but_three(server):
    """Also what isn't there: who has no key doesn't learn what is."""
    for method, path in GUARDED:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {KEY[:-1]}"},
                        {"Authorization": f"Bearer {KEY}y"}, {"Authorization": f"Bearer {KEY.upper()}"},
                        {"Authorization": "Bearer "}, {"Authorization": f"Basic {KEY}"}, {"Authorization": KEY},
                        {"x-api-key": ""}, {"x-api-key": "wrong"}, {"Authorization": f"Bearer {KEY} x"},
                        {"Authorization": "Bearer wrong", "x-api-key": KEY + "x"}, {"Cookie": f"key={KEY}"}):
            status, fields, text = server.ask(method, path, "{}" if method == "POST" else None, headers)
            assert status == 401 and fields["www-authenticate"] == "Bearer", (method, path, headers, status)
            if method != "HEAD":
                assert checked_error(status, text)["code"] == "invalid_api_key"
    for method, path in OPEN:
        assert server.ask(method, path)[0] == 200
    assert server.ask("OPTIONS", CHAT)[0] == 204, "browsers ask that without a key"
    for headers in ({"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"}, {"x-api-key": KEY}):
        assert server.ask("GET", "/v1/models", headers=headers)[0] == 200, headers
    assert server.ask("GET", f"/v1/models?api_key={KEY}")[0] == 401, "a key in an address ends up in logs"


@claim
def F25_a_body_is_not_read_for_who_has_no_key(server):
    with server.client() as client:
        client.ask("POST", CHAT, None, [f"Content-Length: {30 << 20}", "Content-Type: application/json"])
        assert client.response()[0] == 401


def key_file(folder, text, mode=0o600):
    path = os.path.join(folder, "keys")
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)
    return path


@claim
def F24_SIGHUP_reads_the_keys_again():
    def status(server, key):
        return server.ask("GET", "/v1/models", headers={"x-api-key": key})[0]

    with tempfile.TemporaryDirectory() as folder:
        path = key_file(folder, "alice first-key\nsecond-key\n")
        with Server("--api-key-file", path) as server:
            assert (status(server, "first-key"), status(server, "second-key"), status(server, "alice")) == (200, 200, 401)
            key_file(folder, "bob third-key\n")
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: status(server, "third-key") == 200, 2, "the new key is known")
            assert (status(server, "first-key"), status(server, "second-key")) == (401, 401)
            os.remove(path)
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: any("the keys stay as they were" in line for line in server.log), 2, "it is said")
            assert (status(server, "third-key"), status(server, "")) == (200, 401), "no file is not no keys"
            assert server.end() == 0
            assert not any("-key" in line for line in server.log if "--api-key" not in line), "keys are not logged"


@claim
def F25_a_key_file_that_others_may_read_is_refused():
    with tempfile.TemporaryDirectory() as folder:
        path = key_file(folder, "some-key\n", stat.S_IRUSR | stat.S_IRGRP)
        ended = subprocess.run([STRATA, "serve", MODEL, "--port", "0", "--api-key-file", path], capture_output=True, text=True,
                               timeout=30)
        assert ended.returncode == 2 and path in ended.stderr, (ended.returncode, ended.stderr)


@claim
def F26_only_local_names_and_allowed_ones_are_served():
    with Server("--allowed-host", "strata.example", "--cors-origin", "https://chat.example") as server:
        for host, served in (("localhost", True), ("LOCALHOST:1", True), ("127.0.0.1:8737", True), ("[::1]:80", True),
                             ("localhost.", True), ("strata.example", True), ("Strata.Example:443", True),
                             ("evil.example", False), ("localhost.evil.example", False), ("strata.example.evil", False),
                             ("", False), ("127.0.0.2", False), ("0.0.0.0", False), ("[::]", False), ("localhost@evil", False),
                             ("evil:80:80", False), ("[::1", False), ("xlocalhost", False)):
            for method, path in (("GET", "/"), ("GET", "/health"), ("POST", CHAT), ("GET", "/nothing"), ("OPTIONS", CHAT)):
                with server.client() as client:
                    client.ask(method, path, FRANCE if method == "POST" else None, [f"Host: {host}"])
                    status, _, text = client.response()
                assert (status != 403) == served, (host, path, status)
                if not served:
                    error = checked_error(status, text)
                    assert error["code"] == "host_not_allowed" and "--allowed-host" in error["message"]


@claim
def F26_pages_of_other_origins_may_not_ask():
    with Server("--cors-origin", "https://chat.example") as server:
        own = f"http://localhost:{server.port}"
        for origin, served in ((own, True), ("https://chat.example", True), ("https://CHAT.example", True),
                               ("http://chat.example", False), ("https://chat.example.evil", False), ("null", False),
                               ("https://evil.example", False), ("http://localhost:1", False), ("", False), ("*", False),
                               ("http://localhost", False), (f"http://localhost.evil:{server.port}", False)):
            headers = {"Origin": origin, "Host": f"localhost:{server.port}"}
            for method, path in (("POST", CHAT), ("GET", "/v1/models"), ("OPTIONS", CHAT)):
                extra = {"Access-Control-Request-Method": "POST"} if method == "OPTIONS" else {}
                status, fields, _ = server.ask(method, path, {**FRANCE, "max_tokens": 1} if method == "POST" else None,
                                               {**headers, **extra})
                assert (status != 403) == served, (origin, method, path, status)
                allowed = fields.get("access-control-allow-origin")
                assert allowed == (origin if served and origin != own else None), (origin, fields)
                assert "access-control-allow-credentials" not in fields
                if method == "OPTIONS" and served:
                    assert "POST" in fields["access-control-allow-methods"]


@claim
def F26_GET_changes_nothing(server):
    """No address makes the model work: not the page's, not with a query."""
    key = {"x-api-key": KEY}
    tokens = json.dumps([v for k, v in server.metrics(key).items() if "tokens_total{" in k])
    for path in ("/?q=hello", "/?prompt=hello&submit=1", CHAT + "?messages=x", "/v1/completions?prompt=x",
                 "/tokenize?content=x", "/v1/requests/x"):
        assert server.ask("GET", path, headers=key)[0] in (200, 405)
    assert tokens == json.dumps([v for k, v in server.metrics(key).items() if "tokens_total{" in k])


@claim
def F35_neither_prompts_nor_keys_are_logged_and_nobody_floods_the_log():
    with Server("--log-level", "debug", env={"STRATA_API_KEY": KEY}) as server:
        headers = {"x-api-key": KEY}
        for body in ({"messages": [{"role": "user", "content": "my-private-words"}], "max_tokens": 3},
                     {"messages": [{"role": "user", "content": "my-private-words"}], "max_tokens": "my-private-words"},
                     '{"messages": "my-private-words'):
            server.ask("POST", CHAT, body, headers)
        server.ask("GET", "/metrics?my-private-words", headers={"x-api-key": "another-secret"})
        assert server.end() == 0
        log = "".join(server.log)
        assert "request req-" in log, "debug has a line for each request"
        for secret in ("my-private-words", KEY, "another-secret"):
            assert secret not in log, log
    with Server() as server:
        for path, body in ((CHAT, "{"), ("/nothing", "{}"), ("/v1/embeddings", "{}"), ("/v1/images/generations", "{}")):
            for _ in range(50):
                assert server.ask("POST", path, body)[0] >= 400
        assert server.end() == 0
        assert sum(" request " in line for line in server.log) == 0, server.log


if __name__ == "__main__":
    run(env={"STRATA_API_KEY": KEY})
