#!/usr/bin/env python3
"""Times loading a checkpoint of about 1 GB from the page cache against `cat FILE > /dev/null`, in turn, and notes the
memory that stays resident; writes bench/results/NAME.md.

usage: load_vs_cat.py [NAME]      (default: load_vs_cat)
Environment: STRATA (the program; default build/strata), WORK (scratch folder of 1 GB; default /tmp/strata_load),
CONFIG (the folder of mid-nvfp4's config.json), ROUNDS (15), THREADS (0: all).
"""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
STRATA = os.environ.get("STRATA", str(HERE.parent / "build/strata"))
WORK = pathlib.Path(os.environ.get("WORK", "/tmp/strata_load"))
CONFIG = pathlib.Path(os.environ.get("CONFIG", HERE / "configs/mid-nvfp4"))
ROUNDS = int(os.environ.get("ROUNDS", 15))
THREADS = os.environ.get("THREADS", "0")
MOST_OF_OTHERS = 0.2  # of a core, that other programs may have had in a round that counts
EXPERTS = 176  # of each layer instead of mid-nvfp4's 64: 1 GB


def make_checkpoint():
    """The checkpoint's one file, made unless it is there."""
    folder, config = WORK / "model", WORK / "config"
    weights = folder / "model.safetensors"
    if not weights.exists():
        shutil.rmtree(WORK, ignore_errors=True)
        shutil.copytree(CONFIG, config)
        values = json.loads((config / "config.json").read_text())
        values["n_routed_experts"] = EXPERTS
        (config / "config.json").write_text(json.dumps(values))
        subprocess.run([STRATA, "synth", config, folder, "--shard-size", "8G"], check=True, stdout=subprocess.DEVNULL)
    return weights


def busy_seconds():
    """Processor time that all programs have had, and that this one's ended children and it had."""
    ticks = [int(n) for n in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    own = sum(os.times()[:4])
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK"), own


def time_cat(weights):
    with open(os.devnull, "wb") as nowhere:
        start = time.perf_counter()
        subprocess.run(["cat", weights], check=True, stdout=nowhere)
        return time.perf_counter() - start


def time_load(weights):
    """Seconds by the program's own clock: from the opened checkpoint to weights that are ready to compute with."""
    command = [STRATA, "bench", weights.parent, "--threads", THREADS, "-p", "1", "-n", "0", "-r", "1", "--json"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return report["load_seconds"], report


def peak_resident(command):
    """Bytes that a run of `command` had resident at most."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return usage.ru_maxrss * 1024


def spread(values):
    return f"{statistics.median(values):.3f} ({min(values):.3f} – {max(values):.3f})"


def main():
    name = sys.argv[1] if len(sys.argv) > 1 else "load_vs_cat"
    demo = HERE.parent / "models/demo"
    demo_file = (demo / "model.safetensors").stat().st_size
    demo_resident = peak_resident([STRATA, "run", demo, "What is the capital of France?"])
    weights = make_checkpoint()
    size = weights.stat().st_size
    time_cat(weights), time_load(weights)  # the file is in the page cache now
    cats, loads = [], []
    disturbed = 0
    while len(cats) < ROUNDS and disturbed < 5 * ROUNDS:
        (all_before, own_before), start = busy_seconds(), time.perf_counter()
        cat = time_cat(weights)
        seconds, report = time_load(weights)
        (all_after, own_after), wall = busy_seconds(), time.perf_counter() - start
        if (all_after - all_before) - (own_after - own_before) > MOST_OF_OTHERS * wall:
            disturbed += 1
            continue
        cats.append(cat)
        loads.append(seconds)
    if len(cats) < ROUNDS:
        sys.exit(f"load_vs_cat.py: other programs ran in {disturbed} rounds; end them first")
    # By the demo's tokenizer, which `run` needs; the answer is noise.
    shutil.copy(demo / "tokenizer.json", weights.parent)
    resident = peak_resident([STRATA, "run", weights.parent, "What is the capital of France?", "-n", "16"])
    ratios = [cat / load for cat, load in zip(cats, loads)]
    lines = [
        "# Loading against `cat`, and resident memory",
        "",
        f"{report['cpu']}, {report['backend_description']}, {time.strftime('%F', time.gmtime())}.",
        f"A checkpoint of {size / 1e9:.3f} GB (mid-nvfp4 with {EXPERTS} experts a layer) from the page cache, repacked as "
        "it is read,",
        f"in turn with `cat model.safetensors > /dev/null`, {ROUNDS} rounds; {disturbed} more didn't count, because other "
        "programs took more",
        f"than {MOST_OF_OTHERS} of a core. Medians (least – most). Command: `bench/load_vs_cat.py {name}`.",
        "",
        "| | seconds | GB/s |",
        "|---|--:|--:|",
        f"| `cat` | {spread(cats)} | {size / 1e9 / statistics.median(cats):.1f} |",
        f"| load | {spread(loads)} | {size / 1e9 / statistics.median(loads):.1f} |",
        f"| load's speed as a part of `cat`'s: of the medians | {statistics.median(cats) / statistics.median(loads):.2f} | |",
        f"| the same, round by round | {spread(ratios)} | |",
        "",
        "| most memory resident | MB | against the file |",
        "|---|--:|--:|",
        f"| demo, `strata run` | {demo_resident / 1e6:.1f} | + {(demo_resident - demo_file) / 1e6:.1f} MB |",
        f"| the checkpoint above, `strata run -n 16` | {resident / 1e6:.1f} | × {resident / size:.3f} |",
    ]
    result = HERE / "results" / f"{name}.md"
    result.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    print(f"written to {result}", file=sys.stderr)


if __name__ == "__main__":
    main()
