#!/usr/bin/env python3
"""How it ends: signals in each phase, a taken port, an engine that hangs, what systemd hears."""
import ctypes
import json
import os
import signal
import socket
import subprocess
import tempfile
import time

from harness import (CHAT, FRANCE, MODEL, PATIENCE, STRATA, Server, checked_error, claim, end_of, events, long_answer, long_prompt, run,
                     together, wait_until)


def signal_after(server, sig=signal.SIGTERM):
    """Sends the signal; how long the process lives on, and its exit code."""
    began = time.monotonic()
    code = server.end(sig)
    return time.monotonic() - began, code


@claim
def F22_an_idle_server_ends_at_once_with_0():
    for sig in (signal.SIGTERM, signal.SIGINT):
        with Server() as server, server.client() as kept, server.client() as silent:
            kept.ask("GET", "/health")
            kept.response()
            seconds, code = signal_after(server, sig)
            assert code == 0 and seconds < 2 * PATIENCE, (sig, code, seconds)
            assert kept.closed() and silent.closed()


@claim
def F22_while_it_loads_it_ends_within_a_second():
    process = subprocess.Popen([STRATA, "serve", MODEL, "--port", "0"], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:  # handlers are there before the model is
        if line.startswith("model"):
            break
    time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    rest = process.communicate(timeout=10 * PATIENCE)[1]
    assert process.returncode == 0 and time.monotonic() - began < PATIENCE, (process.returncode, rest)


@claim
def F22_answers_under_way_are_finished():
    """Streamed and whole, in decode, in prefill and queued; meanwhile /ready is 503 on a kept connection."""
    with Server("--parallel", "3", "--chunk", "16") as server:
        kept, late = server.client(), server.client()
        late.ask("GET", "/health")
        late.response()

        def whole(**fields):
            return lambda: json.loads(server.chat(**long_answer(**fields)))["usage"]["completion_tokens"]

        def streamed():
            return events(server.chat(stream=True, stream_options={"include_usage": True}, **{
                **long_answer(600)}))[-1]["usage"]["completion_tokens"]

        def stop():
            wait_until(lambda: server.running() == 3 and server.waiting() >= 1, 5, "three run, one waits")
            late.send(b"POST ")  # a request under way keeps the connection
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: refuses(server.port), 2, "no connection is taken")
            late.send(f"/tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}".encode())
            status, fields, body = late.response()
            assert checked_error(status, body, 503)["code"] == "draining" and fields["retry-after"]
            return kept.closed()

        results = together(whole(tokens=600), streamed, whole(tokens=10, messages=long_prompt(3000)),
                           whole(tokens=50), whole(tokens=20), stop)
        assert results == [600, 600, 10, 50, 20, True], results
        assert server.wait(20) == 0
        assert any("finishing" in line and "again to abort" in line for line in server.log), server.log


def refuses(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return False
    except ConnectionRefusedError:
        return True


@claim
def F22_ready_is_503_while_it_drains():
    with Server() as server:
        probe = server.client()
        probe.ask("GET", "/ready")
        assert probe.response()[0] == 200
        answer = server.client()
        answer.ask("POST", CHAT, long_answer(1000))
        wait_until(lambda: server.running() == 1, 5, "an answer runs")
        probe.send(b"GET /ready HTTP/1.1\r\n")
        time.sleep(0.02)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
        probe.send(b"Host: localhost\r\n\r\n")
        status, fields, body = probe.response()
        assert status == 503 and json.loads(body)["status"] == "draining" and fields["connection"] == "close"
        assert answer.response()[0] == 200
        assert server.wait(20) == 0


@claim
def F22_what_takes_longer_than_the_drain_timeout_ends_with_abort():
    for timeout in ("0", "0.3"):
        with Server("--drain-timeout", timeout) as server:
            clients = [server.client() for _ in range(4)]
            for i, client in enumerate(clients):
                client.ask("POST", CHAT, long_answer(3900, stream=i % 2 == 0))
            wait_until(lambda: server.metric("strata_generation_tokens_total") > 20, 10, "the answers run")
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            for i, client in enumerate(clients):
                status, _, body = client.response()
                assert status == 200
                if i % 2 == 0:
                    chunks = events(body.decode())
                    reasons = [c["finish_reason"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]]
                    assert reasons == ["abort"], reasons
                else:
                    answer = json.loads(body)
                    assert answer["choices"][0]["finish_reason"] == "abort" and answer["usage"]["completion_tokens"] > 0
            assert server.wait(10 * PATIENCE) == 0 and time.monotonic() - began < float(timeout) + 3 * PATIENCE


@claim
def F22_a_second_signal_ends_at_once():
    for first, second, code in ((signal.SIGTERM, signal.SIGTERM, 143), (signal.SIGINT, signal.SIGINT, 130),
                                (signal.SIGTERM, signal.SIGINT, 130)):
        with Server("--chunk", "16") as server:
            answer, prefill = server.client(), server.client()
            answer.ask("POST", CHAT, long_answer(3900, stream=True))
            prefill.ask("POST", CHAT, {"messages": long_prompt(), "max_tokens": 500, "ignore_eos": True})
            wait_until(lambda: server.running() == 2, 5, "they run")
            server.process.send_signal(first)
            wait_until(lambda: any("finishing" in line for line in server.log), 5, "it drains")
            seconds, found = signal_after(server, second)
            assert found == code and seconds < 3 * PATIENCE, (found, seconds)


@claim
def F22_a_client_that_leaves_while_it_drains_is_not_waited_for():
    with Server() as server:
        client = server.client()
        client.ask("POST", CHAT, long_answer(3900))
        wait_until(lambda: server.running() == 1, 5, "it runs")
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.02)
        client.close()
        began = time.monotonic()
        assert server.wait(10 * PATIENCE) == 0 and time.monotonic() - began < 2.5 * PATIENCE


@claim
def a_taken_port_is_said_and_by_whom():
    with Server() as server:
        ended = end_of(MODEL, "--port", str(server.port))
        assert ended.returncode == 6 and "--port 0" in ended.stderr and str(server.port) in ended.stderr, ended.stderr
        assert server.ask("GET", "/health")[0] == 200
    for flags in (("--host", "192.0.2.1"), ("--host", "no.such.host.invalid")):
        ended = end_of(MODEL, "--port", "0", "--insecure-no-auth", *flags)
        assert ended.returncode == 6 and flags[1] in ended.stderr, (ended.returncode, ended.stderr)
    ended = end_of(MODEL, "--host", "0.0.0.0", "--port", "0")
    assert ended.returncode == 2 and "--insecure-no-auth" in ended.stderr, ended.stderr


def threads_by_work(server):
    """Thread ids but the first, the busiest of the last moment first."""
    def ticks(tid):
        with open(f"/proc/{server.process.pid}/task/{tid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    tids = [int(t) for t in os.listdir(f"/proc/{server.process.pid}/task") if int(t) != server.process.pid]
    before = {t: ticks(t) for t in tids}
    time.sleep(0.5)
    return sorted(tids, key=lambda t: before[t] - ticks(t))


@claim
def F20_an_engine_that_hangs_ends_the_server_with_1():
    """The thread that computes is stopped, as a debugger does it; the I/O thread goes on."""
    libc = ctypes.CDLL(None, use_errno=True)
    seize, interrupt, go_on, wait_for_threads = 0x4206, 0x4207, 7, 0x40000000
    with Server("--watchdog", "1", "--threads", "1") as server:
        client = server.client()
        client.ask("POST", CHAT, long_answer(3900, stream=True))
        client.head()
        tid = threads_by_work(server)[0]
        if libc.ptrace(seize, tid, 0, 0) != 0:
            print(f"skipped: F20, a thread can't be stopped here ({os.strerror(ctypes.get_errno())})")
            return

        others = []  # that stay

        def stopped_between_locks():
            """Where it hangs for good it holds no lock of the I/O thread's; here it may have been stopped with one."""
            assert libc.ptrace(interrupt, tid, 0, 0) == 0
            assert os.WIFSTOPPED(os.waitpid(tid, wait_for_threads)[1])
            try:
                others.append(server.client(timeout=0.3))
                others[-1].ask("POST", CHAT, {**FRANCE, "stream": True})  # so that there is work, whatever was done
                return others[-1].head()[0] == 200 and server.ask("GET", "/metrics", timeout=0.3)[0] == 200
            except TimeoutError:
                assert libc.ptrace(go_on, tid, 0, 0) == 0
                return False

        wait_until(stopped_between_locks, 10, "the thread stands still and the I/O thread doesn't")
        began = time.monotonic()
        try:
            wait_until(lambda: os.waitpid(tid, wait_for_threads | os.WNOHANG)[0] == tid, 10, "the server ends")
        except AssertionError:
            server.process.kill()
            os.waitpid(tid, wait_for_threads)
            raise
        assert server.wait(5) == 1
        assert time.monotonic() - began < 9 * PATIENCE
        assert any("no step for" in line for line in server.log), server.log


@claim
def F37_a_server_that_was_stopped_and_goes_on_is_no_hang():
    """As a suspended machine, a paused container or a debugger does it."""
    with Server("--watchdog", "0.5") as server:
        client = server.client()
        client.ask("POST", CHAT, long_answer(1500, stream=True, stream_options={"include_usage": True}))
        client.head()
        time.sleep(0.05)
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        server.process.send_signal(signal.SIGCONT)
        body = b""
        while data := client.chunk():
            body += data
        assert events(body.decode())[-1]["usage"]["completion_tokens"] == 1500
        assert server.metric("strata_watchdog_stalls_total") == 0
        assert server.end() == 0


@claim
def it_tells_systemd_how_it_goes():
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        path = os.path.join(folder, "notify")
        notify.bind(path)
        notify.settimeout(5)
        with Server(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "600000"}) as server:
            said = [notify.recv(100) for _ in range(5)]
            assert said.count(b"READY=1") == 1 and said.count(b"WATCHDOG=1") == 4, said
            assert server.end() == 0
        while (last := notify.recv(100)) == b"WATCHDOG=1":
            pass
        assert last == b"STOPPING=1", last


if __name__ == "__main__":
    run()
