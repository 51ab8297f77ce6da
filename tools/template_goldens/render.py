"""Renders a template with the reference, or makes the golden files of tests/fixtures/templates.

usage: render.py TEMPLATE < context.json        prints the text
       render.py --goldens                      writes tests/fixtures/templates/*.json
"""

import json
import pathlib
import sys

import features
from conversations import CONVERSATIONS, SEARCH, WEATHER, assistant, call, context, system, tool, user
from reference import environment, render

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests/fixtures/templates"

# The conversations whose renderings model-spec 5.2 quotes.
QUOTED = {
    "spec: user": {"messages": [user("Hi")]},
    "spec: system, thinking off": {"messages": [system("Be brief."), user("Hi")],
                                   "chat_template_kwargs": {"enable_thinking": False}},
    "spec: history": {"messages": [user("A"), assistant("B", reasoning_content="R"), user("C")]},
    "spec: history kept": {"messages": [user("A"), assistant("B", reasoning_content="R"), user("C")],
                           "chat_template_kwargs": {"truncate_history_thinking": False}},
    "spec: tool call": {
        "messages": [user("W?"),
                     assistant("", reasoning_content="need tool", tool_calls=[
                         call("get_weather", {"city": "Paris", "n": 3, "o": {"a": 1}, "b": True})]),
                     tool("21C"), tool("22C")]},
    "spec: tools": {"messages": [user("Hi")], "tools": [WEATHER]},
}


def golden(source, variables):
    text = render(source, variables)
    return {"context": variables, "error": True} if text is None else {"context": variables, "text": text}


def write(name, golden_file):
    (FIXTURES / f"{name}.json").write_text(json.dumps(golden_file, ensure_ascii=False, indent=1) + "\n")


def make_goldens():
    for name, path in [("demo", "models/demo/chat_template.jinja"), ("nano_like", "tests/fixtures/templates/nano_like.jinja")]:
        source = (ROOT / path).read_text()
        cases = [{"name": key, **golden(source, context(request))} for key, request in {**CONVERSATIONS, **QUOTED}.items()]
        write(name, {"template_file": path, "cases": cases})
    cases = []
    for area, templates in features.TEMPLATES.items():
        for source in templates:
            cases.append({"name": area, "template": source, **golden(source, features.CONTEXT)})
            del cases[-1]["context"]
    write("features", {"context": features.CONTEXT, "cases": cases})
    errors = sum("error" in case for case in cases)
    print(f"{len(cases)} feature goldens, {errors} of them errors")


if __name__ == "__main__":
    if sys.argv[1] == "--goldens":
        make_goldens()
    else:
        sys.stdout.write(environment().from_string(pathlib.Path(sys.argv[1]).read_text()).render(**json.load(sys.stdin)))
