#!/usr/bin/env python3
"""Soak: mixed load on a started server, a third of it from clients that leave at any moment; then whether all is as it was.
usage: serve_soak.py STRATA MODEL [MINUTES]

It fails if an answer is another than the same request's first one, if there is any status of 5xx, if memory or
descriptors grow, or if at the end anything still runs, waits or holds a slot but remembered states."""
import json
import os
import random
import signal
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "server"))
from harness import CHAT, FRANCE, Server, events, long_prompt, streamed_text, together, wait_until  # noqa: E402

MINUTES = float(sys.argv[3]) if len(sys.argv) > 3 else 10
WORKERS, PARALLEL, SNAPSHOTS = 12, 8, 16
WARM_UP = 0.25  # of the time, after which memory must be flat
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}, "n": {"type": "integer"}},
          "required": ["city", "n"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "maxLength": 8}}, "required": ["city"]}}}


def body(draw):
    """One of some hundred requests, so that each comes often enough to be compared."""
    kind = draw.choice(["short", "short", "chat", "chat", "long", "schema", "tools", "several", "logprobs"])
    seed = draw.randrange(12)
    fields = {**FRANCE, "temperature": 1.0, "seed": seed, "max_tokens": draw.choice([20, 60]), "stream": draw.random() < 0.6}
    no_thinking = {"chat_template_kwargs": {"enable_thinking": False}}
    notes = "These are notes on a journey through Europe. " * (60 if kind == "long" else 12)
    if kind in ("chat", "long"):
        turns = [{"role": "user", "content": notes + "What is the capital of France?"},
                 {"role": "assistant", "content": "The capital of France is Paris."},
                 {"role": "user", "content": f"And of country number {seed}?"}]
        fields["messages"] = turns[: draw.choice([1, 3])]
    if kind == "schema":
        fields |= {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}, **no_thinking}
    if kind == "tools":
        fields |= {"tools": [TOOL], "tool_choice": "required", "max_tokens": 200, **no_thinking}
    if kind == "several":
        fields |= {"n": 3}
    if kind == "logprobs":
        fields |= {"logprobs": True, "top_logprobs": 5}
    if fields["stream"]:
        fields["stream_options"] = {"include_usage": True}
    return fields


def endless(fields, tokens):
    """The same, but longer: until the limit where its form has no end of its own."""
    free = "response_format" not in fields and "tools" not in fields
    return {**fields, "max_tokens": tokens, **({"ignore_eos": True} if free else {})}


def essence(fields, text):
    """What must be the same each time: texts, calls, finish reasons, numbers of tokens."""
    if not fields["stream"]:
        answer = json.loads(text)
        return json.dumps([[[c["message"].get("content"), c["message"].get("reasoning"), c["finish_reason"],
                             [t["function"] for t in c["message"].get("tool_calls") or []]] for c in answer["choices"]],
                           answer["usage"]["completion_tokens"]])
    chunks = events(text)
    reasons = sorted(str(c["finish_reason"]) for chunk in chunks for c in chunk["choices"] if c["finish_reason"])
    by_choice = [streamed_text([{"choices": [c for c in chunk["choices"] if c["index"] == i]} for chunk in chunks])
                 for i in range(fields.get("n", 1))]
    return json.dumps([by_choice, reasons, chunks[-1]["usage"]["completion_tokens"]])


class Soak:
    def __init__(self, server):
        self.server = server
        self.first, self.counts, self.failures = {}, {}, []
        self.lock = threading.Lock()
        self.over = time.monotonic() + MINUTES * 60

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def answered(self, draw):
        fields = body(draw)
        status, _, text = self.server.ask("POST", CHAT, fields, timeout=120)
        assert status == 200, (status, text[:300])
        found, key = essence(fields, text), json.dumps(fields, sort_keys=True)
        with self.lock:
            wanted = self.first.setdefault(key, found)
        assert found == wanted, f"another answer than before: {found[:300]} was {wanted[:300]}"
        self.count("answered")

    def left(self, draw):
        """In the head, in the body, before the answer, or after some of it."""
        data = json.dumps(endless(body(draw), 400)).encode()
        with self.server.client(timeout=120) as client:
            head = (f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(data)}\r\n\r\n").encode()
            sent = head + data
            if draw.random() < 0.2:
                client.send(sent[: draw.randrange(len(sent))])
            else:
                client.send(sent)
                if draw.random() < 0.5:
                    time.sleep(draw.random() * 0.2)
                else:
                    client.socket.recv(draw.randrange(1, 4000))
        self.count("left")

    def refused(self, draw):
        text = draw.choice([b"{", b"[]", b'{"messages": 1}', b"\xff", b'{"messages": [], "temperature": 1e999}'])
        status, _, answer = self.server.ask("POST", CHAT, text)
        assert status == 400, answer
        self.count("refused")

    def small(self, draw):
        for path in ("/health", "/metrics", "/v1/models", "/props", "/"):
            assert self.server.ask("GET", path)[0] == 200
        assert self.server.ask("POST", "/tokenize", {"content": "word " * draw.randrange(1, 5000)})[0] == 200
        self.count("small")

    def timed_out(self, draw):
        fields = {**endless(body(draw), 500), "stream": False, "timeout_ms": draw.randrange(1, 100)}
        fields.pop("stream_options", None)
        status, _, text = self.server.ask("POST", CHAT, fields, timeout=120)
        assert status == 200, text
        self.count("timed out")

    def work(self, seed):
        draw = random.Random(seed)
        while time.monotonic() < self.over and not self.failures:
            what = draw.choices([self.answered, self.left, self.refused, self.small, self.timed_out], [50, 30, 8, 6, 6])[0]
            try:
                what(draw)
            except Exception as e:
                self.failures.append(f"{what.__name__}: {type(e).__name__} {e}")


def descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def mean(values):
    return sum(values) / len(values)


def main():
    with Server("--parallel", str(PARALLEL), "--snapshots", str(SNAPSHOTS)) as server:
        # The pools are memory only once they have been used.
        full = {**FRANCE, "messages": long_prompt(3300), "max_tokens": 500, "ignore_eos": True}
        together(*[lambda i=i: server.ask("POST", CHAT, {**full, "cache_salt": f"{i}"}, timeout=600)
                   for i in range(2 * PARALLEL)])
        soak = Soak(server)
        workers = [threading.Thread(target=soak.work, args=(seed,)) for seed in range(WORKERS)]
        began = time.monotonic()
        for w in workers:
            w.start()
        memory = []
        while any(w.is_alive() for w in workers):
            time.sleep(0.5)
            memory.append(server.rss() / 1e6)
        seconds = time.monotonic() - began
        failures = soak.failures
        try:
            server.wait_until_idle(10)
            wait_until(lambda: server.metric("http_connections") == 1, 10, "the connections are closed")
        except AssertionError as e:
            failures.append(str(e))
        m = server.metrics()

        def metric(name, label=""):
            return sum(v for k, v in m.items() if k.split("{")[0] == name and label in k)

        flat = memory[int(len(memory) * WARM_UP):]
        third = max(len(flat) // 3, 1)
        before, after = mean(flat[:third]), mean(flat[-third:])
        slots = metric("strata_slot_usage_perc") * (PARALLEL + SNAPSHOTS)
        remembered = metric("strata_ssm_snapshots", 'tier="host"')
        if abs(after / before - 1) > 0.02:
            failures.append(f"memory went from {before:.1f} to {after:.1f} MB")
        if abs(slots - remembered) > 0.01:
            failures.append(f"{slots:.1f} slots are taken, {remembered:.0f} of them by remembered states")
        for name in ("strata_corrupted_requests_total", "strata_watchdog_stalls_total", "strata_stream_clients_slow_total"):
            if metric(name):
                failures.append(f"{name} is {metric(name):.0f}")
        if bad := {k: v for k, v in m.items() if k.startswith("http_requests_total") and 'status="5' in k}:
            failures.append(str(bad))
        print(f"{seconds:.0f} s, {WORKERS} clients: " + ", ".join(f"{n} {k}" for k, n in sorted(soak.counts.items())) +
              f"; {len(soak.first)} different requests compared")
        print("cancelled: " + ", ".join(f"{metric('strata_requests_cancelled_total', w):.0f} in {w}"
                                         for w in ("queue", "prefill", "decode")) +
              f"; {metric('strata_num_preemptions_total'):.0f} parked; {metric('strata_generation_tokens_total'):.0f} tokens")
        print(f"memory after warm-up {before:.1f} MB, at the end {after:.1f} MB ({100 * (after / before - 1):+.2f} %), "
              f"most {max(memory):.1f} MB; {descriptors(server)} descriptors")
        print(f"at the end: running {metric('strata_num_requests_running'):.0f}, waiting "
              f"{metric('strata_num_requests_waiting'):.0f}, slots {slots:.0f} = {remembered:.0f} remembered states")
        if (code := server.end(signal.SIGTERM)) != 0:
            failures.append(f"SIGTERM ends it with {code}")
        for failure in failures[:10]:
            print("FAILED", failure)
        if failures:
            print("".join(server.log[-20:]), file=sys.stderr)
        sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
