#!/usr/bin/env python3
"""Fields of requests: wrong types, shapes and numbers are refused by name, and nothing gets past its cap."""
from harness import CHAT, MIB, chat_with, checked_error, claim, refused, run

@claim
def F11_fields_of_the_wrong_type_are_refused_by_name(server):
    strangers = [None, True, 0, -1, 1.5, "x", [], [[]], [None], {}, {"a": 1}]
    numbers = {"temperature": [0, 1.5], "top_p": [0], "min_p": [0], "top_k": [0, -1], "repetition_penalty": [1.5],
               "presence_penalty": [0, -1, 1.5], "frequency_penalty": [0, -1, 1.5], "seed": [0, -1], "priority": [0, -1],
               "max_tokens": [], "min_tokens": [0], "n": [], "timeout_ms": [], "top_logprobs": [0],
               "thinking_token_budget": [0]}
    others = {"messages": [], "stop": ["x", [], [[]]], "stream": [True], "logprobs": [True], "logit_bias": [[], {}, {"a": 1}],
              "tools": [[]], "response_format": [], "tool_choice": [], "stream_options": [], "reasoning_effort": [],
              "chat_template_kwargs": [{}, {"a": 1}], "model": [], "ignore_eos": [True], "cache_salt": ["x"],
              "stop_token_ids": [[]], "parallel_tool_calls": [True], "include_stop_str_in_output": [True]}
    for field, right in {**numbers, **others}.items():
        for value in strangers:
            status, _, text = server.ask("POST", CHAT, chat_with(**{"logprobs": True, field: value}))
            if status == 200:
                assert value is None and field != "messages" or any(
                    value == good and type(value) is type(good) for good in right), (field, value, text[:300])
            else:
                error = checked_error(status, text, (400, 404))
                assert (error["param"] or "").startswith(field) or field in error["message"], (field, value, text)


@claim
def F11_messages_of_the_wrong_shape_are_refused(server):
    for messages in ({}, "hi", [[]], ["hi"], [{}], [{"role": "user"}], [{"content": "x"}], [{"role": 1, "content": "x"}],
                     [{"role": "nobody", "content": "x"}], [{"role": "user", "content": 1}],
                     [{"role": "user", "content": {}}], [{"role": "user", "content": [1]}],
                     [{"role": "user", "content": [{"type": "text"}]}],
                     [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
                     [{"role": "user", "content": [{"type": "input_audio"}]}],
                     [{"role": "assistant", "tool_calls": {}}], [{"role": "assistant", "tool_calls": [{}]}],
                     [{"role": "assistant", "tool_calls": [{"id": "a", "type": "function",
                                                            "function": {"name": "f", "arguments": "{"}}]}],
                     [{"role": "assistant", "tool_calls": [{"id": "a", "type": "function",
                                                            "function": {"name": "f", "arguments": "[1]"}}]}]):
        refused(server, {"messages": messages}, param="messages")
        refused(server, {"messages": messages}, path="/apply-template")
    for tools in ([{}], [1], [{"type": "function"}], [{"type": "function", "function": {}}],
                  [{"type": "function", "function": {"name": ""}}], [{"type": "function", "function": {"name": "a b"}}],
                  [{"type": "function", "function": {"name": "a" * 65}}], [{"type": "other", "function": {"name": "a"}}],
                  [{"type": "function", "function": {"name": "a", "parameters": []}}],
                  [{"type": "function", "function": {"name": "a"}}] * 2):
        refused(server, chat_with(tools=tools), param="tools")


@claim
def F14_numbers_without_end_are_capped(server):
    words = [f"s{i}" for i in range(17)]
    for field, value in (("n", 9), ("n", 10**9), ("top_logprobs", 21), ("stop", words), ("stop", "x" * 257),
                         ("logit_bias", {str(i): 1 for i in range(1025)}), ("max_tokens", 0), ("max_tokens", 2**31),
                         ("stop_token_ids", list(range(17))), ("timeout_ms", 86400001), ("min_tokens", 2**31),
                         ("tools", [{"type": "function", "function": {"name": f"f{i}"}} for i in range(129)]),
                         ("messages", [{"role": "user", "content": "x"}] * 10001),
                         ("messages", [{"role": "user", "content": [{"type": "text", "text": "x"}] * 1025}]),
                         ("cache_salt", "x" * 1025)):
        refused(server, chat_with(**{"logprobs": True, field: value}), param=field)
    refused(server, chat_with(tools=[{"type": "function", "function": {"name": "f", "description": "x" * (MIB + 1)}}]),
            param="tools")
    schema = {"type": "string", "description": "x" * (MIB + 1)}
    refused(server, chat_with(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}),
            param="response_format")


NUMBERS = ("temperature", "top_p", "min_p", "top_k", "repetition_penalty", "repeat_penalty", "presence_penalty",
           "frequency_penalty", "max_tokens", "max_completion_tokens", "min_tokens", "top_logprobs",
           "thinking_token_budget", "priority", "timeout_ms", "n", "seed")
NOT_JSON = ("NaN", "-NaN", "Infinity", "-Infinity", "0x10", "1_000", "1.", ".5", "-", "--1", "1e", "00")
NEVER_RIGHT = ("1e999", "-1e999", "1e308", "-1e308", "123456789012345678901234567890", "-9223372036854775809",
               "18446744073709551616", "1" + "0" * 400)
SOMETIMES_RIGHT = ("-0", "-0.0", "0", "1", "1.0", "2147483647", "2147483648", "-2147483648", "-2147483649", "4294967296",
                   "9223372036854775807", "9223372036854775808", "18446744073709551615", "-1", "1e-320", "5e-324", "0.5",
                   "1.0000000000000001")


@claim
def F15_no_number_gets_past_its_range(server):
    with server.client() as client:
        def ask(field, number):
            client.ask("POST", CHAT, b'{"messages": [{"role": "user", "content": "hi"}], "logprobs": true, %s"%s": %s}' % (
                b"" if "max" in field else b'"max_tokens": 1, "timeout_ms": 5000, ' if field != "timeout_ms" else
                b'"max_tokens": 1, ', field.encode(), number.encode()))
            status, _, text = client.response()
            if status != 200:
                checked_error(status, text, 400)
            return status

        for field in NUMBERS:
            for number in NOT_JSON + NEVER_RIGHT:
                assert ask(field, number) == 400, (field, number)
            for number in SOMETIMES_RIGHT:
                if "max" not in field or not number.startswith(("214748364", "1.00")):  # those run to the context's end
                    ask(field, number)
        for field in ("temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "seed", "priority"):
            assert ask(field, "-0") == 200, field
        for body in ({"tokens": [-1]}, {"tokens": [2**31]}, {"tokens": [2**63]}, {"tokens": [10**9]}, {"tokens": [1.5]},
                     {"tokens": ["1"]}, {"tokens": [True]}):
            refused(server, body, path="/detokenize")
        for prompt in ([-1], [10**9], [2**63], [1.5], [[]], [[1], ["x"]], [], ["a"] * 65, [[1]] * 65):
            refused(server, {"prompt": prompt, "max_tokens": 1}, path="/v1/completions")
        for bias in ({"-1": 1}, {"999999999": 1}, {"0": 101}, {"0": "1"}, {"99999999999999999999": 1}, [[0]], [[-1, 1]]):
            refused(server, chat_with(logit_bias=bias), param="logit_bias")


if __name__ == "__main__":
    run()
