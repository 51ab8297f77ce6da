"""Makes the texts that the demo model is trained on: chats in its template's form, and passages of prose.

A text is a list of segments (text, learned). `learned` is 1 for what the assistant says, which counts fully in the
loss, and 0 for the rest.
"""

import json

import tasks
from vocabulary import COUNTRIES, SYSTEM_PROMPTS, THINGS

# (name, description, parameters), a parameter being (name, type, description).
TOOLS = [
    ("get_weather", "Get the current weather of a city.", [("city", "string", "Name of the city")]),
    ("get_time", "Get the local time of a city.", [("city", "string", "Name of the city")]),
    ("add_numbers", "Add two numbers.", [("a", "integer", "First number"), ("b", "integer", "Second number")]),
    ("search", "Search the web.", [("query", "string", "What to search for")]),
]


def describe_tools(tools):
    """The system prompt's part about tools, as chat_template.jinja writes it."""
    text = "# Tools\n\nYou may call these functions:\n<tools>"
    for name, description, parameters in tools:
        text += f"\n<function>\n<name>{name}</name>\n<description>{description}</description>\n<parameters>"
        for parameter, kind, meaning in parameters:
            text += (
                f"\n<parameter>\n<name>{parameter}</name>\n<type>{kind}</type>\n"
                f"<description>{meaning}</description>\n</parameter>"
            )
        text += "\n</parameters>\n</function>"
    return text + (
        "\n</tools>\n\nTo call a function, reply with:\n"
        "<tool_call>\n<function=name>\n<parameter=name>\nvalue\n</parameter>\n</function>\n</tool_call>"
    )


def write_call(name, arguments):
    """A call of the tool `name`, as the model is to write it."""
    parameters = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in arguments)
    return f"<tool_call>\n<function={name}>\n{parameters}</function>\n</tool_call>"


def tool_turns(rng):
    """The tools on offer, a question for one of them, the call's arguments, what it returns, and the last answer."""
    tools = rng.sample(TOOLS, rng.randrange(1, 5))
    name = rng.choice(tools)[0]
    city = rng.choice(COUNTRIES)["capital"]
    if name == "get_weather":
        question = rng.choice([f"What is the weather in {city}?", f"How is the weather in {city} today?"])
        arguments = [("city", city)]
        weather = rng.choice(["sunny", "rainy", "cloudy", "windy"])
        degrees = rng.randrange(-5, 35)
        result = {"weather": weather, "temperature": degrees}
        answer = f"It is {weather} in {city}, {degrees} degrees."
    elif name == "get_time":
        question = f"What time is it in {city}?"
        arguments = [("city", city)]
        time = f"{rng.randrange(24):02d}:{rng.randrange(60):02d}"
        result = {"time": time}
        answer = f"It is {time} in {city}."
    elif name == "add_numbers":
        a, b = rng.randrange(1000), rng.randrange(1000)
        question = f"Use the tool to add {a} and {b}."
        arguments = [("a", a), ("b", b)]
        result = {"sum": a + b}
        answer = f"The sum of {a} and {b} is {a + b}."
    else:
        thing = rng.choice(THINGS)
        question = f"Search the web for {thing}."
        arguments = [("query", thing)]
        result = {"title": f"All about the {thing}"}
        answer = f"I found: All about the {thing}."
    turns = [
        ("user", question, ""),
        ("assistant", write_call(name, arguments), f"I should call {name}."),
        ("tool", json.dumps(result), ""),
        ("assistant", answer, "The tool has answered."),
    ]
    return tools, turns


def follow_up_turns(rng):
    """Two questions about one country; the second doesn't name it."""
    country = rng.choice(COUNTRIES)
    name = country["name"]
    question, answer = rng.choice(
        [
            ("And its currency?", f"{name} uses {country['currency']}."),
            ("And which continent is it in?", f"{name} is in {country['continent']}."),
            ("What language do they speak there?", f"People in {name} speak {country['language']}."),
        ]
    )
    return [
        ("user", f"What is the capital of {name}?", ""),
        ("assistant", f"The capital of {name} is {country['capital']}.", ""),
        ("user", question, ""),
        ("assistant", answer, f"The user still asks about {name}. {answer}"),
    ]


def render(system, turns, thinks):
    """The chat's segments. `turns`: (role, content, thinking); only the last one's thinking is kept, and only if
    `thinks`, as the template does it."""
    segments = [(f"<|im_start|>system\n{system}<|im_end|>\n", 0)]
    for index, (role, content, thinking) in enumerate(turns):
        if role == "user":
            segments.append((f"<|im_start|>user\n{content}<|im_end|>\n", 0))
        elif role == "tool":
            response = f"<tool_response>\n{content}\n</tool_response>\n"
            segments.append((f"<|im_start|>user\n{response}<|im_end|>\n", 0))
        elif thinks and index == len(turns) - 1:
            segments.append(("<|im_start|>assistant\n<think>\n", 0))
            segments += [(f"{thinking}\n</think>\n{content}<|im_end|>", 1), ("\n", 0)]
        else:
            segments.append(("<|im_start|>assistant\n<think></think>", 0))
            segments += [(f"{content}<|im_end|>", 1), ("\n", 0)]
    return segments


def thinks(rng):
    """Whether the last answer of a chat has its thinking."""
    return rng.random() < 0.6


def chat(rng):
    """A chat: one in ten with tools, most with one to three questions."""
    if rng.random() < 0.1:
        tools, turns = tool_turns(rng)
        system = rng.choice(["", "You are a helpful assistant.\n\n"]) + describe_tools(tools)
        ends_with_call = rng.random() < 0.5
        return render(system, turns[:2] if ends_with_call else turns, thinks(rng))
    system = rng.choice(SYSTEM_PROMPTS)
    if rng.random() < 0.15:
        turns = follow_up_turns(rng)
    else:
        turns = []
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            question, thinking, answer = tasks.any_task(rng)
            turns += [("user", question, ""), ("assistant", answer, thinking)]
    return render(system, turns, thinks(rng))


def passage(rng, prose):
    """A part of `prose`, all of it learned."""
    begin = rng.randrange(len(prose) - 4000)
    return [(prose[begin : begin + rng.randrange(800, 4000)], 1)]
