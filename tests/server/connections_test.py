#!/usr/bin/env python3
"""Connections by the thousand, requests by the hundred: who is over a limit is told so, the others are served.
usage: connections_test.py STRATA MODEL [CLAIM...]; with STRATA_CONNECTIONS=10000 that many are opened"""
import json
import os
import resource
import selectors
import signal
import socket
import time

from harness import CHAT, PATIENCE, Server, claim, long_answer, percentile, request, run, wait_until

resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
CONNECTIONS = min(int(os.environ.get("STRATA_CONNECTIONS", "10000")), resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 512)


def stream_gaps(server, tokens=500):
    """Seconds between the reads of a stream; a read takes what has come."""
    with server.client() as client:
        client.ask("POST", CHAT, long_answer(tokens, stream=True))
        times, data = [], b""
        while not data.endswith(b"0\r\n\r\n"):
            data = data[-8:] + client.socket.recv(1 << 16)
            times.append(time.monotonic())
    return [b - a for a, b in zip(times[2:], times[3:])]


@claim
def F6_ten_thousand_idle_connections_cost_memory_alone(server):
    """All open, at most 300 MiB, and a stream beside them as quick as before."""
    health = []
    alone = min((stream_gaps(server) for _ in range(3)), key=lambda g: percentile(g, 0.99))
    memory = server.rss()
    idle = []
    for i in range(CONNECTIONS):
        idle.append(socket.create_connection(("127.0.0.1", server.port)))
        if i % 10 == 0:  # some have been used, some send half a request
            idle[-1].sendall(request("GET", "/health"))
    for s in idle[::10]:
        assert s.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
    wait_until(lambda: server.metric("http_connections") == CONNECTIONS + 1, 10, f"{CONNECTIONS} connections are open")
    beside = min((stream_gaps(server) for _ in range(3)), key=lambda g: percentile(g, 0.99))
    for _ in range(200):
        began = time.monotonic()
        assert server.ask("GET", "/health")[0] == 200
        health.append(time.monotonic() - began)
    grown = server.rss() - memory
    wait_until(lambda: server.metric("http_connections") == CONNECTIONS + 1, 2, "all are still open")
    for s in idle[::7]:
        s.sendall(request("GET", "/health"))
        assert s.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
    print(f"{CONNECTIONS} idle connections: {grown / 1e6:.1f} MB, p99 gap {percentile(alone, 0.99) * 1e3:.2f} ms alone, "
          f"{percentile(beside, 0.99) * 1e3:.2f} ms beside them, /health p99 {percentile(health, 0.99) * 1e3:.1f} ms")
    assert grown <= 300 << 20 and server.rss() <= 300 << 20
    assert percentile(beside, 0.99) <= max(2 * percentile(alone, 0.99), 0.005 * PATIENCE)
    assert percentile(health, 0.99) < 0.02 * PATIENCE
    for s in idle:
        s.close()
    wait_until(lambda: server.metric("http_connections") == 1, 5, "they are closed again")


@claim
def F6_over_the_limit_of_connections_one_is_told_503():
    with Server("--max-connections", "20") as server:
        clients = [server.client() for _ in range(20)]
        for client in clients:
            client.ask("GET", "/health")
            assert client.response()[0] == 200
        for _ in range(5):
            with server.client() as extra:
                status, fields, body = extra.response()
                assert status == 503 and fields["retry-after"] and fields["connection"] == "close"
                assert json.loads(body)["error"]["code"] == "too_many_connections"
                assert extra.closed()
        clients[0].close()

        def served():
            with server.client() as client:
                client.ask("GET", "/health")
                return client.response()[0] == 200

        wait_until(served, 2, "there is room again")


@claim
def F23_without_descriptors_it_says_so_and_lives_on():
    """More clients than descriptors: those over are told 503, and those that come later are served."""
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    with Server("--max-connections", "1000", before=few) as server:
        clients = [server.client() for _ in range(200)]
        statuses = []
        for client in clients:
            client.send(request("GET", "/health"))
            try:
                response = client.response()
                statuses.append(response[0] if response else None)
            except ConnectionResetError:
                statuses.append(None)
        assert statuses.count(200) > 20 and statuses.count(503) > 50, statuses
        for client in clients:
            client.close()
        wait_until(lambda: server.metric("http_connections") == 1, 5, "all are closed")
        assert server.metric("http_connections_turned_away_total") >= 100
        assert json.loads(server.chat())["choices"][0]["message"]["content"] == "The capital of France is Paris."
        assert sum("turned away" in line for line in server.log) == 1, server.log
        assert len(server.log) < 30, "it is said once, not each time"


@claim
def F23_signals_that_mean_nothing_are_ignored(server):
    for sig in (signal.SIGPIPE, signal.SIGWINCH, signal.SIGCONT):
        server.process.send_signal(sig)
    assert server.ask("GET", "/health")[0] == 200


@claim
def F7_of_a_thousand_requests_at_once_each_is_answered_or_told_429(server):
    """64 run, 256 wait; nothing is lost."""
    count = 1000
    data = request("POST", CHAT, long_answer(12, stream=False), ["Connection: close"])
    selector = selectors.DefaultSelector()
    answers = {}
    for i in range(count):
        s = socket.create_connection(("127.0.0.1", server.port))
        s.sendall(data)
        s.setblocking(False)
        selector.register(s, selectors.EVENT_READ, i)
        answers[i] = b""
    end = time.monotonic() + 60
    while selector.get_map() and time.monotonic() < end:
        for key, _ in selector.select(1):
            if piece := key.fileobj.recv(1 << 16):
                answers[key.data] += piece
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()
    assert not selector.get_map(), "some were not answered"
    finished = refused = 0
    for answer in answers.values():
        head, body = answer.split(b"\r\n\r\n", 1)
        if head.startswith(b"HTTP/1.1 200 "):
            assert json.loads(body)["usage"]["completion_tokens"] == 12
            finished += 1
        else:
            assert head.startswith(b"HTTP/1.1 429 ") and b"\r\nretry-after: " in head, head
            assert json.loads(body)["error"]["code"] == "queue_full"
            refused += 1
    assert finished >= 256 and finished + refused == count
    assert server.metric("strata_admission_rejections_total", reason="queue_full") == refused
    server.wait_until_idle()


if __name__ == "__main__":
    run()
