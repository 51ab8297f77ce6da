#!/usr/bin/env python3
"""`strata run --json`, Ctrl+C and the interactive chat, driven through a pseudo-terminal.

usage: run_chat.py STRATA MODEL FOLDER
"""
import json
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import sys
import time

strata, model, work = sys.argv[1:]
environment = {**os.environ, "XDG_STATE_HOME": f"{work}/state", "TERM": "xterm"}
environment.pop("NO_COLOR", None)
question = "What is the capital of France?"
paris = "The capital of France is Paris."


def check(condition, message):
    if not condition:
        sys.exit(f"run_chat.py: {message}")


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *arguments):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(strata, [strata, *arguments], environment)
        self.output = ""

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def wait_for(self, text, seconds=60):
        """Reads until `text` comes; what came before it is returned and forgotten."""
        end = time.time() + seconds
        while text not in self.output:
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.time()))
            check(ready, f"waited for {text!r}, found {self.output!r}")
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            check(data, f"ended before {text!r}: {self.output!r}")
            self.output += data.decode(errors="replace")
        before, _, self.output = self.output.partition(text)
        return before + text

    def exit_code(self):
        """Reads what is left, so that nothing keeps the program from ending."""
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


PROMPT = "\x1b[?2004h"  # what switches the marks around pasted text on: a line is being read


def ask(chat, keys):
    chat.type(keys)
    return chat.wait_for("\r\n\r\n" + PROMPT) if not keys.startswith("/") else chat.wait_for(PROMPT)


def json_answer():
    run = subprocess.run([strata, "run", model, question, "--json"], capture_output=True, text=True, check=True)
    answer = json.loads(run.stdout)
    check(answer["content"] == paris, answer)
    check("Its capital is Paris." in answer["reasoning"] and "think>" not in answer["reasoning"], answer)
    check(answer["finish_reason"] == "stop", answer)
    usage = answer["usage"]
    check(usage["prompt_tokens"] == 22 and usage["total_tokens"] == 22 + usage["completion_tokens"], usage)
    timings = ["load_ms", "prompt_ms", "prompt_per_second", "predicted_ms", "predicted_per_second", "first_token_ms"]
    check(list(answer["timings"]) == timings, answer["timings"])
    check(all(value > 0 for value in answer["timings"].values()), answer["timings"])


# An answer that goes on until it is stopped: hot enough that the end is never likely.
ENDLESS = ["--temp", "50", "--seed", "1", "--thinking", "off"]


def interrupted_answer():
    run = subprocess.Popen(
        [strata, "run", model, question, *ENDLESS, "--backend", "reference"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    check(run.stdout.read(1), "no answer")
    run.send_signal(signal.SIGINT)
    run.stdout.read()
    check(run.wait() == 130, f"SIGINT: exit {run.returncode}")


def conversation():
    chat = Terminal("run", model)
    chat.wait_for(PROMPT)
    said = ask(chat, question + "\r")
    check("\x1b[2m" in said and paris in said, said)
    # The second turn starts from what the first left behind.
    said = ask(chat, "What is the capital of Japan?\r")
    check("Tokyo" in said, said)
    check(re.search(r"\(and \d+ known\)", said), said)
    check("Thinking is off." in ask(chat, "/think off\r"), "/think off")
    check("\x1b[2m" not in ask(chat, question + "\r"), "/think off: there was thinking")
    saved = pathlib.Path(work) / "saved.json"
    check("Saved 6 messages" in ask(chat, f"/save {saved}\r"), "/save")
    messages = json.loads(saved.read_text())["messages"]
    check([m["role"] for m in messages] == ["user", "assistant"] * 3, messages)
    check(messages[1]["content"] == paris and "reasoning_content" in messages[1], messages)
    check("A new conversation." in ask(chat, "/reset\r"), "/reset")
    ask(chat, f"/save {saved}\r")
    check(json.loads(saved.read_text())["messages"] == [], "/reset: messages are left")
    check("/save FILE" in ask(chat, "/help\r"), "/help")
    check("no command /frob" in ask(chat, "/frob\r"), "/frob")
    # Editing: a typo taken back, words moved over, a paste that isn't sent by its line end.
    said = ask(chat, "Whax\x7ft is the capital of\x01\x05 Frnce?" + "\x1b[D" * 4 + "a\r")
    check(paris in said, said)
    check(paris in ask(chat, "\x1b[A\x1b[A\x1b[B\r"), "history")
    chat.type("\x1b[200~/reset\rx\x1b[201~")
    chat.type("\x15\x04")
    check(chat.exit_code() == 0, "Ctrl+D")
    history = pathlib.Path(work) / "state/strata/history"
    check(history.stat().st_mode & 0o777 == 0o600, "the history is for everyone to read")
    check("What is the capital of Japan?" in history.read_text(), "the history lacks a line")


def stopped_answer():
    chat = Terminal("run", model, *ENDLESS)
    chat.wait_for(PROMPT)
    chat.type("Hello.\r")
    chat.wait_for("\x1b[?2004l")
    time.sleep(0.2)
    chat.type("\x03")
    chat.wait_for("(stopped)")
    chat.wait_for(PROMPT)
    chat.type("\x03")
    chat.wait_for("to leave.")
    chat.wait_for(PROMPT)
    chat.type("\x03")
    check(chat.exit_code() == 0, "Ctrl+C twice")


for test in (json_answer, interrupted_answer, conversation, stopped_answer):
    test()
print("run_chat: all as expected")
