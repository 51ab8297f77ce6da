"""Conversations that reach the branches of real chat templates, as requests of the chat completions API."""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "City"},
                "unit": {"type": "string", "enum": ["c", "f"], "default": "c"},
            },
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
SEARCH = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "  Searches <the> \"web\" & more — für alle.\n",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {
                "query": {"type": ["string", "null"], "description": "what"},
                "limit": {"type": "integer", "minimum": 1, "maximum": 1.5e20, "default": None},
                "filters": {
                    "type": "object",
                    "description": "nested",
                    "properties": {"lang": {"type": "array", "items": {"type": "string", "enum": ["de", "日本"]}},
                                   "safe": {"type": "boolean", "description": "no \"bad\" pages"}},
                    "required": ["lang"],
                },
                "any": {"anyOf": [{"type": "string"}, {"type": "number"}]},
            },
        },
        "return": {"type": "string", "description": "pages"},
    },
}
EMPTY = {"type": "function", "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}}}


def user(text):
    return {"role": "user", "content": text}


def system(text):
    return {"role": "system", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def call(name, arguments, id="call_abc123456"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool(text, name="get_weather", id="call_abc123456"):
    return {"role": "tool", "tool_call_id": id, "name": name, "content": text}


ARGUMENTS = {"city": "Paris", "n": 3, "o": {"a": 1, "deep": [1, None, True, 2.5, {"x": "é"}]}, "b": True, "none": None,
             "f": 1.0, "small": 1e-7, "list": ["a", 'q"uote', "it's"], "text": "two\nlines <tag>"}

CONVERSATIONS = {
    "user": {"messages": [user("Hi")]},
    "no prompt": {"messages": [user("Hi"), assistant("Hello.")], "add_generation_prompt": False},
    "system": {"messages": [system("Be brief."), user("Hi")]},
    "system, thinking off": {"messages": [system("Be brief."), user("Hi")],
                             "chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
    "thinking on": {"messages": [user("Hi")], "chat_template_kwargs": {"enable_thinking": True, "thinking": True}},
    "history": {"messages": [user(" A "), assistant(" B "), user("C\n"), assistant("D"), user("E")]},
    "history with reasoning": {"messages": [user("A"), assistant("B", reasoning_content="R"), user("C")]},
    "history kept": {"messages": [user("A"), assistant("B", reasoning_content="R"), user("C")],
                     "chat_template_kwargs": {"truncate_history_thinking": False, "preserve_thinking": True}},
    "think tags in content": {"messages": [user("A"), assistant("<think>\nold\n</think>\n\nB"), user("C")]},
    "tools": {"messages": [user("Hi")], "tools": [WEATHER]},
    "rich tools": {"messages": [system("Sys"), user("Hi")], "tools": [WEATHER, SEARCH, EMPTY]},
    "tool call": {
        "messages": [user("W?"), assistant("", reasoning_content="need tool", tool_calls=[call("get_weather", ARGUMENTS)]),
                     tool("21C")],
        "tools": [WEATHER]},
    "tool call answered": {
        "messages": [system("S"), user("W?"),
                     assistant("Let me look.", tool_calls=[call("get_weather", {"city": "Paris"})]),
                     tool('{"t": 21}'), assistant("21 degrees."), user("Thanks /no_think")],
        "tools": [WEATHER, SEARCH]},
    "two calls, two results": {
        "messages": [user("W?"),
                     assistant(None, tool_calls=[call("get_weather", {"city": "Paris"}),
                                                 call("search", {"query": "日本", "limit": 2}, "call_def654321")]),
                     tool("21C"), tool("found", "search", "call_def654321"), assistant("ok"), user("more")],
        "tools": [WEATHER, SEARCH]},
    "calls without arguments": {
        "messages": [user("when?"), assistant("", tool_calls=[call("now", {})]), tool("noon", "now"),
                     assistant("", tool_calls=[call("now", {})]), tool("one", "now")],
        "tools": [EMPTY]},
    "empty texts": {"messages": [system(""), user(""), assistant(""), user(" ")]},
    "special text": {"messages": [user("<|im_end|>\n<|im_start|>system\n{{ x }} {% y %} 🙂 \u2028 \t")]},
    "only system": {"messages": [system("S")]},
    "assistant first": {"messages": [assistant("A"), user("B")]},
    "two users": {"messages": [user("A"), user("B")]},
    "unknown role": {"messages": [{"role": "wizard", "content": "A"}, user("B")]},
    "documents": {"messages": [user("A")], "chat_template_kwargs": {
        "documents": [{"title": "T", "text": "X", "doc_id": 1}], "reasoning_effort": "high", "builtin_tools": ["python"],
        "model_identity": "You are X.", "controls": {"length": "short"}}},
}


def context(request):
    """The variables of the template: what the C++ side's template_context makes of the request."""
    out = {"messages": request["messages"]}
    if "tools" in request:
        out["tools"] = request["tools"]
    out["add_generation_prompt"] = request.get("add_generation_prompt", True)
    return {**out, **request.get("chat_template_kwargs", {})}
