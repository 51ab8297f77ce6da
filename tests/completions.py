#!/usr/bin/env python3
"""`strata completions` in the shell that it is for: a person types, presses Tab, and the line is what they meant.

usage: completions.py STRATA SHELL; exits with 77 if SHELL (bash, zsh or fish) isn't installed.
"""
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

# What is typed, and the line that one Tab makes of it, in a folder with model_folder/ and model_file.json.
CASES = {
    "strata ru": "strata run",
    "strata completions fi": "strata completions fish",
    "strata run --temper": "strata run --temperature",
    "strata bench --backend refer": "strata bench --backend reference",
    "strata run model_": "strata run model_folder/",
    "strata run --model model_": "strata run --model model_folder/",
    "strata inspect model_": "strata inspect model_folder/",
    "strata run --json model_": "strata run --json model_folder/",
    "strata tokenize model_fi": "strata tokenize model_file.json",
}

strata, shell = sys.argv[1:]


class Shell:
    """An interactive bash or zsh without the user's settings, on a terminal of its own."""

    STARTS = {
        "bash": (["bash", "--norc", "--noprofile", "-i"], "source {script}; bind 'set enable-bracketed-paste off'"),
        # A slash that zsh adds would go again with the next key.
        "zsh": (
            ["zsh", "-f", "-i"],
            "autoload -Uz compinit && compinit -u -D; unsetopt auto_remove_slash; source {script}",
        ),
    }

    def __init__(self, folder, script):
        arguments, setup = self.STARTS[shell]
        environment = {**os.environ, "TERM": "dumb", "INPUTRC": "/dev/null", "HISTFILE": "/dev/null", "COLUMNS": "200"}
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvpe(arguments[0], arguments, environment)
        self.lines = 0
        self.ask(f"{setup.format(script=script)}; ")

    def ask(self, keys, seconds=30):
        """Types `keys` and what turns the line into arguments of an echo; returns what that prints.

        Quotes inside the marker, so that the terminal's echo of what is typed isn't taken for the answer.
        """
        self.lines += 1
        os.write(self.fd, f"{keys}echo li''ne{self.lines}: \n".encode())
        output, end = "", time.time() + seconds
        while not (found := re.search(rf"line{self.lines}:(.*?)\r?\n", output)):
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.time()))
            if not ready:
                sys.exit(f"completions.py: {shell}: waited for an answer to {keys!r}, found {output!r}")
            output += os.read(self.fd, 65536).decode(errors="replace")
        return found[1].strip()

    def complete(self, line):
        """What a Tab makes of `line`; Ctrl+A goes to its beginning."""
        return self.ask(f"{line}\t\x01")


def complete_in_fish(folder, script, line):
    """fish prints the candidates for the last word, each with a description behind a tab."""
    command = ["fish", "--no-config", "-c", 'source $argv[1]; complete -C "$argv[2]"', str(script), line]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30).stdout.splitlines()
    return [line.rpartition(" ")[0] + " " + candidate.partition("\t")[0] for candidate in found]


def main():
    if not shutil.which(shell):
        print(f"completions.py: {shell} is not installed")
        sys.exit(77)
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name, "folder")
        (folder / "model_folder").mkdir(parents=True)
        (folder / "model_file.json").touch()
        script = pathlib.Path(name, "script")
        script.write_bytes(subprocess.run([strata, "completions", shell], check=True, capture_output=True).stdout)
        terminal = None if shell == "fish" else Shell(folder, script)
        for line, expected in CASES.items():
            found = [terminal.complete(line)] if terminal else complete_in_fish(folder, script, line)
            if found != [expected]:
                failures += 1
                print(f"{shell}: {line!r} should complete to {expected!r}, found {found}")
        if terminal:
            os.close(terminal.fd)
            os.waitpid(terminal.pid, 0)
    print(f"completions.py: {shell}: {len(CASES) - failures} of {len(CASES)} lines as expected")
    sys.exit(failures != 0)


main()
