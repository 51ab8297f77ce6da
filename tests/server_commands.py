#!/usr/bin/env python3
"""`strata serve` from outside: answers, streams, refusals, and how it ends. usage: server_commands.py STRATA MODEL"""
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading

STRATA, MODEL = sys.argv[1:3]
FRANCE = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "seed": 7}


class Server:
    """One process on a port of its own."""

    def __init__(self, *flags, env=None):
        self.process = subprocess.Popen([STRATA, "serve", MODEL, "--port", "0", *flags], stderr=subprocess.PIPE,
                                        text=True, env={**os.environ, **(env or {})})
        self.log = []
        self.port = None
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"ready     http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found.group(1))
                break
        assert self.port, "".join(self.log)
        threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True).start()

    def ask(self, method, path, body=None, headers=None):
        """(status, headers, body as text)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        data = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, dict(response.getheaders()), text

    def chat(self, **fields):
        status, _, text = self.ask("POST", "/v1/chat/completions", {**FRANCE, **fields})
        assert status == 200, text
        return text

    def end(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
        return self.process.wait(timeout=40)


def answers_and_streams_are_the_same(server):
    whole = json.loads(server.chat(logprobs=True, top_logprobs=2))
    message = whole["choices"][0]["message"]
    assert message["content"] == "The capital of France is Paris.", whole
    assert message["reasoning"] == message["reasoning_content"] != ""
    content = reasoning = ""
    logprobs = []
    lines = server.chat(stream=True, stream_options={"include_usage": True}, logprobs=True, top_logprobs=2).split("\n\n")
    events = [line[6:] for line in lines if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(e) for e in events[:-1]]
    for chunk in chunks:
        for choice in chunk["choices"]:
            content += choice["delta"].get("content") or ""
            reasoning += choice["delta"].get("reasoning") or ""
            logprobs += (choice.get("logprobs") or {}).get("content") or []
    assert (content, reasoning) == (message["content"], message["reasoning"])
    assert logprobs == whole["choices"][0]["logprobs"]["content"]
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]


def an_answer_in_a_crowd_is_the_answer_alone(server):
    def ask(i, into):
        into[i] = json.loads(server.chat(temperature=1.0, seed=i, max_tokens=40, logprobs=True))["choices"]

    alone, crowd = {}, {}
    for i in range(12):
        ask(i, alone)
    threads = [threading.Thread(target=ask, args=(i, crowd)) for i in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert alone == crowd


def a_second_turn_starts_from_the_first(server):
    notes = "These are notes on a journey through Europe, from the north to the south. " * 8
    first = [{"role": "user", "content": notes + "What is the capital of France?"}]
    answer = json.loads(server.chat(messages=first))
    turn = first + [{"role": "assistant", "content": answer["choices"][0]["message"]["content"]},
                    {"role": "user", "content": "And of Italy?"}]
    usage = json.loads(server.chat(messages=turn))["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    assert cached >= answer["usage"]["prompt_tokens"] - 8, usage


def a_schema_is_obeyed(server):
    schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}, "n": {"type": "integer"}},
              "required": ["city", "n"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = json.loads(server.chat(response_format=form, chat_template_kwargs={"enable_thinking": False}))
    value = json.loads(answer["choices"][0]["message"]["content"])
    assert set(value) == {"city", "n"} and isinstance(value["n"], int), value


def refusals_say_what_is_wrong(server):
    def refused(status, path="/v1/chat/completions", method="POST", body=None, headers=None, word=""):
        got, fields, text = server.ask(method, path, body, headers)
        assert got == status, (path, body, got, text)
        error = json.loads(text)["error"]
        assert set(error) >= {"message", "type", "param", "code"} and word in error["message"], text
        return fields

    refused(400, body="{", word="")
    refused(400, body="[]")
    refused(400, body={**FRANCE, "temperature": -1}, word="temperature")
    refused(400, body={**FRANCE, "max_tokens": "ten"}, word="max_tokens")
    refused(400, body={**FRANCE, "tools": [{"type": "function"}]}, word="tools")
    refused(400, body={**FRANCE, "response_format": {"type": "json_schema", "json_schema": {
        "name": "x", "schema": {"type": "string", "pattern": "a"}}}}, word="pattern")
    refused(400, body={"messages": [{"role": "user", "content": "word " * 6000}]}, word="4096")
    refused(400, body='{"messages": [{"role": "user", "content": "\\ud800"}]}')
    refused(404, path="/nothing", method="GET")
    refused(404, body={**FRANCE, "model": "other"}, word="other")
    assert "POST" in refused(405, method="GET")["allow"]
    refused(403, path="/v1/models", method="GET", headers={"Host": "evil.example"}, word="--allowed-host")
    refused(501, path="/v1/embeddings", body={"input": "x"})
    refused(415, body="x", headers={"Content-Type": "text/plain"})


def small_routes_answer(server):
    for path in ("/health", "/ready", "/v1/models", "/version", "/props"):
        status, _, text = server.ask("GET", path)
        assert status == 200 and json.loads(text), path
    tokens = json.loads(server.ask("POST", "/tokenize", {"content": "Hello there"})[2])["tokens"]
    assert json.loads(server.ask("POST", "/detokenize", {"tokens": tokens})[2])["content"] == "Hello there"
    assert "strata_generation_tokens_total" in server.ask("GET", "/metrics")[2]
    status, fields, page = server.ask("GET", "/")
    assert status == 200 and "<html" in page and "sha256-" in fields["content-security-policy"]
    assert server.ask("HEAD", "/")[2] == ""
    completion = json.loads(server.ask("POST", "/v1/completions",
                                       {"prompt": "The capital of France", "max_tokens": 4, "echo": True, "logprobs": 1})[2])
    choice = completion["choices"][0]
    assert choice["text"].startswith("The capital of France") and choice["logprobs"]["token_logprobs"][0] is None


def a_client_that_leaves_stops_its_answer(server):
    body = json.dumps({**FRANCE, "stream": True, "ignore_eos": True, "max_tokens": 3500})
    with socket.create_connection(("127.0.0.1", server.port)) as s:
        s.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                  f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
        assert s.recv(100).startswith(b"HTTP/1.1 200")
    for _ in range(200):
        metrics = server.ask("GET", "/metrics")[2]
        if re.search(r"^strata_num_requests_running\{[^}]*\} 0$", metrics, re.M):
            break
    else:
        raise AssertionError("the request still runs")


def keys_guard_every_route_but_three():
    server = Server(env={"STRATA_API_KEY": "a-secret-key"})
    for method, path in (("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("POST", "/v1/completions"),
                         ("GET", "/metrics"), ("GET", "/props"), ("GET", "/version"), ("POST", "/tokenize"),
                         ("POST", "/detokenize"), ("POST", "/apply-template"), ("DELETE", "/v1/requests/x")):
        for key in (None, "wrong", "a-secret-ke", "a-secret-keyy"):
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            assert server.ask(method, path, "{}", headers)[0] == 401, (path, key)
    assert server.ask("GET", "/v1/models", headers={"Authorization": "Bearer a-secret-key"})[0] == 200
    assert server.ask("GET", "/v1/models", headers={"x-api-key": "a-secret-key"})[0] == 200
    for path in ("/health", "/ready", "/"):
        assert server.ask("GET", path)[0] == 200
    assert server.end() == 0


def sigterm_lets_answers_finish(server):
    result = {}
    thread = threading.Thread(target=lambda: result.update(json.loads(server.chat(ignore_eos=True, max_tokens=600))))
    thread.start()
    while '} 0\n' in server.ask("GET", "/metrics")[2].split("strata_num_requests_running{")[1][:60]:
        pass
    assert server.end() == 0
    thread.join()
    assert result["usage"]["completion_tokens"] == 600


def a_taken_port_is_said(server):
    other = subprocess.run([STRATA, "serve", MODEL, "--port", str(server.port)], capture_output=True, text=True, timeout=60)
    assert other.returncode == 6 and "--port 0" in other.stderr, other.stderr


def a_missing_model_is_said():
    other = subprocess.run([STRATA, "serve", "/nowhere"], capture_output=True, text=True, timeout=60)
    assert other.returncode == 3 and "/nowhere" in other.stderr, other.stderr


shared = Server()
for test in (answers_and_streams_are_the_same, an_answer_in_a_crowd_is_the_answer_alone,
             a_second_turn_starts_from_the_first, a_schema_is_obeyed, refusals_say_what_is_wrong, small_routes_answer,
             a_client_that_leaves_stops_its_answer,
             a_taken_port_is_said, sigterm_lets_answers_finish):
    test(shared)
    print("ok", test.__name__)
for test in (keys_guard_every_route_but_three, a_missing_model_is_said):
    test()
    print("ok", test.__name__)
