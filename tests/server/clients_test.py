#!/usr/bin/env python3
"""Clients that leave, in each phase, and clients that are slow: they are forgotten, and nobody else notices."""
import json
import threading
import time

from harness import (CHAT, FRANCE, PATIENCE, Server, claim, events, long_answer, long_prompt, percentile, request, run, streamed_text,
                     wait_until)

SLOW_CLIENT_TIMEOUT = 3
RECEIVE_BUFFER = 256 << 10  # more than loopback's segments of 64 KiB: below that TCP itself crawls
BULKY = dict(stream=True, logprobs=True, top_logprobs=20)  # some kilobytes a token


def cancelled(server, where):
    return server.metric("strata_requests_cancelled_total", where=where)


def connections(server):
    """Without that which asks."""
    return server.metric("http_connections") - 1


def occupy(server, count):
    """Clients whose answers take all the sequences that the engine runs at a time."""
    clients = [server.client() for _ in range(count)]
    for client in clients:
        client.ask("POST", CHAT, long_answer(stream=True))
    for client in clients:
        client.head()
        for _ in range(3):
            assert client.chunk()
    return clients


@claim
def clients_that_leave_before_their_request_is_whole_are_forgotten(server):
    head, body = request("POST", CHAT, FRANCE).split(b"\r\n\r\n")
    whole = head + b"\r\n\r\n" + body
    for size in (0, 1, 10, len(head), len(head) + 2, len(head) + 4, len(head) + 20, len(whole) - 1):
        client = server.client()
        client.send(whole[:size])
        time.sleep(0.01)
        client.close()
    wait_until(lambda: connections(server) == 0, 1, "all connections are closed")
    assert server.running() == server.waiting() == 0
    assert server.metric("strata_generation_tokens_total") == 0, "half a request was answered"


@claim
def F1_a_queued_request_whose_client_leaves_never_runs(server):
    running = occupy(server, 4)
    prompt_tokens = server.metric("strata_prompt_tokens_total")
    before = cancelled(server, "queue")
    queued = [server.client() for _ in range(5)]
    for i, client in enumerate(queued):
        client.ask("POST", CHAT, {**FRANCE, "stream": i % 2 == 0})
    wait_until(lambda: server.waiting() == 5, 1, "five requests wait")
    for client in queued:
        client.close()
    wait_until(lambda: server.waiting() == 0, 0.1 + 0.4, "none waits 100 ms after they left")
    assert server.running() == 4, "the others still run"
    for client in running:
        client.close()
    server.wait_until_idle()
    assert cancelled(server, "queue") - before == 5
    assert server.metric("strata_prompt_tokens_total") == prompt_tokens


@claim
def F2_a_prefill_whose_client_leaves_stops_at_the_next_chunk(server):
    """Chunks of 16: the prompt of 3,300 tokens takes 200 steps, of which few are made."""
    before, computed = cancelled(server, "prefill"), server.metric("strata_prefix_tokens_recomputed_total")
    client = server.client()
    client.ask("POST", CHAT, {"messages": long_prompt(), "max_tokens": 10, "cache_salt": "F2"})
    wait_until(lambda: server.metric("strata_prefix_tokens_recomputed_total") > computed, 5, "the prefill has begun")
    client.close()
    server.wait_until_idle()
    assert cancelled(server, "prefill") - before == 1
    assert server.metric("strata_prefix_tokens_recomputed_total") - computed < 3000


@claim
def F3_an_answer_whose_client_leaves_ends(server):
    for fields in (dict(stream=True), dict(stream=False), dict(stream=True, n=3), dict(stream=False, n=3)):
        before = cancelled(server, "decode")
        client = server.client()
        client.ask("POST", CHAT, long_answer(temperature=1.0, **fields))
        choices = fields.get("n", 1)
        tokens = server.metric("strata_generation_tokens_total")
        wait_until(lambda: server.running() == choices and
                   server.metric("strata_generation_tokens_total") > tokens, 5, "tokens come")
        client.close()
        server.wait_until_idle()
        assert cancelled(server, "decode") - before == choices, fields
        tokens = server.metric("strata_generation_tokens_total")
        time.sleep(0.05)
        assert server.metric("strata_generation_tokens_total") == tokens
        assert server.metric("strata_slot_usage_perc") <= 0.5, "only remembered states keep slots"


@claim
def F3_a_client_that_leaves_while_its_next_request_waits_is_noticed_too(server):
    """Its next request's bytes lie before the end of the connection."""
    client = server.client()
    client.ask("POST", CHAT, long_answer(stream=True))
    client.head()
    client.ask("GET", "/health")
    time.sleep(0.05)
    client.close()
    server.wait_until_idle()


@claim
def F3_sixty_four_streams_cut_off_at_once_leave_room_for_the_next(server):
    clients = [server.client() for _ in range(64)]
    for client in clients:
        client.ask("POST", CHAT, long_answer(stream=True))
    for client in clients:
        assert client.head()[0] == 200
    for client in clients:
        client.close()
    assert json.loads(server.chat())["choices"][0]["message"]["content"] == "The capital of France is Paris."
    server.wait_until_idle()


@claim
def F4_a_client_that_reads_nothing_is_cut_off(server):
    server.chat(**long_answer())  # the pools are memory only once they have been used
    before, memory = server.metric("strata_stream_clients_slow_total"), server.rss()
    alone = p99_gap(server)
    with server.client(receive_buffer=RECEIVE_BUFFER) as slow:
        slow.ask("POST", CHAT, long_answer(**BULKY))
        assert slow.head()[0] == 200
        beside = p99_gap(server)
        wait_until(lambda: server.metric("strata_stream_clients_slow_total") == before + 1, SLOW_CLIENT_TIMEOUT + 8,
                   "the client that reads nothing is cut off and counted")
        server.wait_until_idle()
        try:
            while slow.chunk():
                pass
        except (ConnectionError, ValueError, AssertionError):
            pass
        else:
            raise AssertionError("an answer that was cut off looks whole")
    assert server.rss() - memory < 8 << 20, (memory, server.rss())
    assert beside <= max(3 * alone, 0.02 * PATIENCE), (alone, beside)


@claim
def F4_a_client_that_reads_a_byte_a_second_is_cut_off(server):
    before = server.metric("strata_stream_clients_slow_total")
    with server.client(receive_buffer=RECEIVE_BUFFER) as slow:
        slow.ask("POST", CHAT, long_answer(**BULKY))
        stop = threading.Event()

        def read_slowly():
            try:
                while slow.socket.recv(1) and not stop.wait(1):
                    pass
            except OSError:
                pass

        thread = threading.Thread(target=read_slowly)
        thread.start()
        try:
            wait_until(lambda: server.metric("strata_stream_clients_slow_total") == before + 1,
                       SLOW_CLIENT_TIMEOUT + 10, "the slow client is cut off")
            server.wait_until_idle()
        finally:
            stop.set()
            thread.join()


@claim
def F4_a_client_that_pauses_gets_the_same_answer(server):
    body = long_answer(1500, stream_options={"include_usage": True}, **BULKY)
    wanted = events(server.chat(**body))
    with server.client(receive_buffer=RECEIVE_BUFFER) as client:
        client.ask("POST", CHAT, body)
        client.head()
        text = client.chunk()
        for _ in range(2):
            time.sleep(SLOW_CLIENT_TIMEOUT / 3)
            for _ in range(100):
                text += client.chunk()
        while data := client.chunk():
            text += data
    found = events(text.decode())
    assert streamed_text(found) == streamed_text(wanted)
    assert found[-1]["usage"]["completion_tokens"] == wanted[-1]["usage"]["completion_tokens"] == 1500


@claim
def F5_who_sends_a_head_for_ever_gets_408():
    """A byte every half second; ten seconds are allowed."""
    with Server() as server, server.client() as client:
        began = time.monotonic()
        head = request("GET", "/health", None, ["X: " + "a" * 1000])
        client.socket.settimeout(0.5)
        response = b""
        for byte in head:
            client.send(bytes([byte]))
            try:
                if response := client.socket.recv(1000):
                    break
            except TimeoutError:
                pass
        assert response.startswith(b"HTTP/1.1 408 Request Timeout\r\n"), response
        assert 9 < (seconds := time.monotonic() - began) < 10 + 3 * PATIENCE, seconds


@claim
def F5_a_kept_connection_without_requests_is_closed():
    with Server("--idle-timeout", "1") as server, server.client() as client:
        for _ in range(3):
            time.sleep(0.6)
            client.ask("GET", "/health")
            assert client.response()[0] == 200, "each request counts anew"
        began = time.monotonic()
        assert client.closed() and 0.7 < time.monotonic() - began < 2 * PATIENCE


def p99_gap(server, tokens=100):
    """Seconds between the events of a stream, the 99th of a hundred; the best of five, as others use the machine too."""
    best = float("inf")
    for _ in range(5):
        with server.client() as client:
            client.ask("POST", CHAT, long_answer(tokens, stream=True))
            client.head()
            times = []
            while client.chunk():
                times.append(time.monotonic())
        best = min(best, percentile([b - a for a, b in zip(times, times[1:])], 0.99))
    return best


if __name__ == "__main__":
    run("--parallel", "4", "--chunk", "16", "--slow-client-timeout", str(SLOW_CLIENT_TIMEOUT))
