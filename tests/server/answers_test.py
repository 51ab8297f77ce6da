#!/usr/bin/env python3
"""Answers from outside: streamed and whole, alone and in a crowd, from a remembered state, by a schema; small routes."""
import json

from harness import CHAT, FRANCE, checked_error, claim, events, run, together


@claim
def answers_and_streams_are_the_same(server):
    whole = json.loads(server.chat(logprobs=True, top_logprobs=2))
    message = whole["choices"][0]["message"]
    assert message["content"] == "The capital of France is Paris.", whole
    assert message["reasoning"] == message["reasoning_content"] != ""
    content = reasoning = ""
    logprobs = []
    chunks = events(server.chat(stream=True, stream_options={"include_usage": True}, logprobs=True, top_logprobs=2))
    for chunk in chunks:
        for choice in chunk["choices"]:
            content += choice["delta"].get("content") or ""
            reasoning += choice["delta"].get("reasoning") or ""
            logprobs += (choice.get("logprobs") or {}).get("content") or []
    assert (content, reasoning) == (message["content"], message["reasoning"])
    assert logprobs == whole["choices"][0]["logprobs"]["content"]
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]


@claim
def F39_an_answer_in_a_crowd_is_the_answer_alone(server):
    """To the last bit of its log probabilities."""
    def ask(i):
        return lambda: json.loads(server.chat(temperature=1.0, seed=i, max_tokens=40, logprobs=True))["choices"]

    asked = [ask(i) for i in range(32)]
    assert [a() for a in asked] == together(*asked)


@claim
def F40_an_answer_from_a_remembered_state_is_the_answer_from_none(server):
    """Chats of several turns, that share beginnings and differ; a salt of its own remembers nothing."""
    notes = "These are notes on a journey through Europe, from the north to the south. " * 8
    for first in ("What is the capital of France?", "What is the capital of Italy?"):
        chat = [{"role": "user", "content": notes + first}]
        for question in ("And of Spain?", "And of France?", "Who are you?"):
            fields = dict(messages=chat, temperature=1.0, max_tokens=60, logprobs=True)
            again = json.loads(server.chat(**fields))
            cold = json.loads(server.chat(cache_salt=f"{first} {len(chat)}", **fields))
            assert again["choices"] == cold["choices"]
            assert cold["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
            if len(chat) > 1:
                assert again["usage"]["prompt_tokens_details"]["cached_tokens"] > 100
            chat = chat + [{"role": "assistant", "content": again["choices"][0]["message"]["content"]},
                           {"role": "user", "content": question}]


@claim
def a_second_turn_starts_from_the_first(server):
    notes = "These are notes on a journey through Europe, from the north to the south. " * 8
    first = [{"role": "user", "content": notes + "What is the capital of France?"}]
    answer = json.loads(server.chat(messages=first))
    turn = first + [{"role": "assistant", "content": answer["choices"][0]["message"]["content"]},
                    {"role": "user", "content": "And of Italy?"}]
    usage = json.loads(server.chat(messages=turn))["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    assert cached >= answer["usage"]["prompt_tokens"] - 8, usage


@claim
def a_schema_is_obeyed(server):
    schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}, "n": {"type": "integer"}},
              "required": ["city", "n"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = json.loads(server.chat(response_format=form, chat_template_kwargs={"enable_thinking": False}))
    value = json.loads(answer["choices"][0]["message"]["content"])
    assert set(value) == {"city", "n"} and isinstance(value["n"], int), value


@claim
def refusals_say_what_is_wrong(server):
    def refused(status, path=CHAT, method="POST", body=None, headers=None, word=""):
        got, fields, text = server.ask(method, path, body, headers)
        assert word in checked_error(got, text, status)["message"], text
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


@claim
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


@claim
def a_request_is_ended_by_its_id(server):
    """Its own x-request-id, or the answer's id; the answer ends with "abort" and its client gets it."""
    for by in ("request", "answer"):
        with server.client() as client:
            body = {**FRANCE, "stream": True, "ignore_eos": True, "max_tokens": 3500}
            client.ask("POST", CHAT, body, ["X-Request-Id: mine"])
            client.head()
            text = client.chunk()
            name = "mine" if by == "request" else json.loads(text[6:])["id"]
            assert json.loads(server.ask("DELETE", f"/v1/requests/{name}")[2])["deleted"]
            while data := client.chunk():
                text += data
        reasons = [c["finish_reason"] for chunk in events(text.decode()) for c in chunk["choices"] if c["finish_reason"]]
        assert reasons == ["abort"], reasons
        checked_error(*server.ask("DELETE", f"/v1/requests/{name}")[::2], 404)


if __name__ == "__main__":
    run()
