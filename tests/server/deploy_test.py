#!/usr/bin/env python3
"""What deploy/ and the README rely on: the metrics of the dashboard, the flags of the unit, examples as they are printed."""
import json
import pathlib
import re
import shutil
import subprocess
import sys

from harness import STRATA, claim, run

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


def expressions():
    panels = json.loads((DEPLOY / "grafana.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


@claim
def every_metric_and_label_of_the_dashboard_exists(server):
    server.chat(max_tokens=2)
    text = server.ask("GET", "/metrics")[2]
    families = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    series = set(families) | {name + suffix for name, kind in families.items() if kind == "histogram"
                              for suffix in ("_bucket", "_sum", "_count")}
    asked = expressions()
    assert len(asked) > 40, asked
    for expression in asked:
        names = re.findall(r"\b((?:strata|http|process)_\w+)\{", expression)
        assert names, expression
        for name in names:
            assert name in series, f"{name} of {expression} is not in /metrics"
        for label in {word.strip() for by in re.findall(r"by \(([^)]*)\)", expression) for word in by.split(",")}:
            samples = re.findall(rf"^{names[0]}\{{(.*)\}}", text, re.M)
            # A family that counts nothing yet has no sample to show its labels.
            assert not samples or any(f'{label}="' in sample for sample in samples), f"{label} of {expression}"


@claim
def the_flags_of_the_unit_and_what_the_proxies_ask_exist(server):
    unit = (DEPLOY / "strata.service").read_text()
    command = re.search(r"^ExecStart=\S+ serve (.*)$", unit, re.M).group(1)
    known = subprocess.run([STRATA, "serve", "--help"], capture_output=True, text=True, check=True).stdout
    for flag in re.findall(r"--[a-z-]+", command):
        assert re.search(rf"{flag}\b", known), flag
    stop = int(re.search(r"^TimeoutStopSec=(\d+)s", unit, re.M).group(1))
    assert stop > int(re.search(r"--drain-timeout (\d+)", command).group(1))
    check = re.search(r"http-check send meth (\S+) uri (\S+)", (DEPLOY / "haproxy.cfg").read_text())
    assert server.ask(*check.groups())[0] == 200


@claim
def the_examples_of_the_readme_run_as_they_are_printed(server):
    """Python and curl; the JavaScript one runs in tests/clients."""
    readme = (ROOT / "README.md").read_text()

    def output(program, language):
        code = re.search(rf"^```{language}\n(.*?)^```", readme, re.M | re.S).group(1)
        code = code.replace("127.0.0.1:8737", f"127.0.0.1:{server.port}")
        return subprocess.run([program, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout

    assert output(sys.executable, "python").strip() == "The capital of France is Paris."
    if shutil.which("curl"):
        answer = json.loads(output("sh", "sh"))
        assert answer["choices"][0]["message"]["content"] == "The capital of France is Paris.", answer


if __name__ == "__main__":
    run()
