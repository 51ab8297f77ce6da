#!/usr/bin/env python3
"""Models that are missing, broken or hostile: refused in words before anything is served; none of it costs more."""
import json
import os
import shutil
import tempfile
import time

from harness import CHAT, MODEL, PATIENCE, Server, checked_error, claim, end_of, run


@claim
def a_missing_model_is_said():
    with tempfile.TemporaryDirectory() as folder:
        for model in ("/nowhere", folder, os.path.join(MODEL, "config.json"), "no-org/no-model"):
            ended = end_of(model, "--port", "0")
            assert ended.returncode == 3 and model in ended.stderr, (model, ended.returncode, ended.stderr)


class Copy:
    """A copy of the model that may be broken."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp()
        for name in os.listdir(MODEL):
            shutil.copy(os.path.join(MODEL, name), self.folder)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def change(self, name, edit):
        with open(self.path(name), "rb") as file:
            data = file.read()
        with open(self.path(name), "wb") as file:
            file.write(edit(data))

    def change_json(self, name, **fields):
        self.change(name, lambda data: json.dumps({**json.loads(data), **fields}).encode())

    def is_refused(self, word="", codes=(3,)):
        ended = end_of(self.folder, "--port", "0")
        assert ended.returncode in codes and word in ended.stderr and "ready" not in ended.stderr, (
            ended.returncode, word, ended.stderr[-500:])


@claim
def F28_no_path_leads_out_of_the_models_folder():
    shards = {"lm_head.weight": "x"}
    for name in ("../model.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "a\0.safetensors", ".",
                 "%2e%2e/model.safetensors", "missing.safetensors"):
        with Copy() as copy:
            os.rename(copy.path("model.safetensors"), copy.path("model-00001-of-00001.safetensors"))
            with open(copy.path("model.safetensors.index.json"), "w") as file:
                json.dump({"weight_map": {**shards, "lm_head.weight": name}}, file)
            copy.is_refused("safetensors")
    with Copy() as copy:
        os.remove(copy.path("model.safetensors"))
        os.mkfifo(copy.path("model.safetensors"))
        copy.is_refused("model.safetensors")
    with Copy() as copy, tempfile.NamedTemporaryFile() as outside:
        os.remove(copy.path("tokenizer.json"))
        os.mkfifo(copy.path("tokenizer.json"))
        copy.is_refused("tokenizer.json")


@claim
def F29_broken_weights_are_refused():
    def with_header(edit):
        def change(data):
            size = int.from_bytes(data[:8], "little")
            header = edit(json.loads(data[8:8 + size]))
            text = json.dumps(header).encode()
            return len(text).to_bytes(8, "little") + text + data[8 + size:]
        return change

    def first(header):
        return next(k for k in header if k != "__metadata__")

    def set_first(**fields):
        return with_header(lambda h: {**h, first(h): {**h[first(h)], **fields}})

    for edit in (lambda d: b"", lambda d: d[:7], lambda d: d[:1000], lambda d: d[:-1], lambda d: d + b"x",
                 lambda d: b"\xff" * 8 + d[8:], lambda d: (1 << 40).to_bytes(8, "little") + d[8:],
                 lambda d: d[:8] + b"[" + d[9:], lambda d: b"\0" * len(d), set_first(shape=[1 << 62, 1 << 62]),
                 set_first(shape=[-1]), set_first(dtype="X9"), set_first(data_offsets=[0, 1 << 50]),
                 set_first(data_offsets=[8, 0]), set_first(data_offsets=[-8, 8]),
                 with_header(lambda h: {k: v for k, v in h.items() if k != first(h)}), with_header(lambda h: {})):
        with Copy() as copy:
            copy.change("model.safetensors", edit)
            copy.is_refused("model.safetensors")


@claim
def F31_hostile_settings_are_refused():
    for name, fields in (("config.json", dict(num_hidden_layers=10**9)), ("config.json", dict(hidden_size=2**31)),
                         ("config.json", dict(hidden_size=-1)), ("config.json", dict(vocab_size=2**62)),
                         ("config.json", dict(hidden_size=0)), ("config.json", dict(num_hidden_layers="many")),
                         ("config.json", dict(architectures=["Other"], model_type="other")),
                         ("config.json", dict(layer_norm_epsilon="x")),
                         ("tokenizer.json", dict(model={"type": "BPE"})), ("tokenizer.json", dict(model=None)),
                         ("tokenizer.json", dict(pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+"},
                                                                "behavior": "Isolated"}))):
        with Copy() as copy:
            copy.change_json(name, **fields)
            copy.is_refused(name, (3, 4))
    for name in ("config.json", "tokenizer.json"):
        for edit in (lambda d: b"", lambda d: d[:-2], lambda d: b"\xff" + d, lambda d: b"[" * 100_000, lambda d: b"null"):
            with Copy() as copy:
                copy.change(name, edit)
                copy.is_refused(name)


@claim
def F31_a_template_that_never_ends_costs_its_request_alone():
    with Copy() as copy:
        loop = "{% for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) %}x{% endfor %}{% endfor %}"
        copy.change("chat_template.jinja", lambda d: d + b"{% if messages[0].content == 'loop' %}" + loop.encode() +
                    b"{% endfor %}{% elif messages[0].content == 'grow' %}{% set n = namespace(s='xxxxxxxx') %}"
                    b"{% for a in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}{% endif %}")
        with Server(model=copy.folder) as server:
            for word in ("loop", "grow"):
                began = time.monotonic()
                status, _, text = server.ask("POST", CHAT, {"messages": [{"role": "user", "content": word}]})
                checked_error(status, text, 400)
                assert time.monotonic() - began < 5 * PATIENCE and copy.folder not in text, text
            assert "Paris" in server.chat()


@claim
def F32_a_file_that_shrinks_under_it_changes_nothing():
    with Copy() as copy, Server(model=copy.folder) as server:
        before = json.loads(server.chat(logprobs=True))["choices"]
        for name in os.listdir(copy.folder):
            with open(copy.path(name), "r+b") as file:
                file.truncate(10)
        assert json.loads(server.chat(logprobs=True))["choices"] == before
        for name in os.listdir(copy.folder):
            os.remove(copy.path(name))
        assert json.loads(server.chat(logprobs=True))["choices"] == before


if __name__ == "__main__":
    run()
