"""Renders every template of a folder over every conversation, with jinja2 and with Strata, and counts differences.

usage: compare_templates.py STRATA FOLDER
"""

import json
import pathlib
import subprocess
import sys
import tempfile

from conversations import CONVERSATIONS, context
from reference import render

TOKENS = {"bos_token": "<BOS>", "eos_token": "<EOS>"}


def main():
    strata, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    total = rendered = different = 0
    with tempfile.TemporaryDirectory() as model:
        pathlib.Path(model, "tokenizer_config.json").write_text(json.dumps(TOKENS))
        for path in sorted(folder.glob("*.jinja")):
            source = path.read_bytes().decode()
            pathlib.Path(model, "chat_template.jinja").write_bytes(path.read_bytes())
            for name, request in CONVERSATIONS.items():
                expected = render(source, {**TOKENS, **context(request)})
                run = subprocess.run([strata, "template", model], input=json.dumps(request).encode(), capture_output=True)
                found = run.stdout.decode() if run.returncode == 0 else None
                total += 1
                rendered += expected is not None
                if found != expected:
                    different += 1
                    print(f"DIFFERENT {path.name} / {name}\n  jinja2: {expected!r}\n  strata: {found!r} {run.stderr.decode()}")
    print(f"{total} renderings, {rendered} of them without an error in jinja2, {different} different")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
