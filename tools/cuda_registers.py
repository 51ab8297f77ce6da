#!/usr/bin/env python3
"""Compiles kernels for every GPU they are for and fails if one keeps registers in memory or takes too much shared memory.

cuda_registers.py NVCC SOURCE... [-- OPTION...], the options those of the build. Prints a line a kernel and GPU."""
import re
import subprocess
import sys
import tempfile

ARCHITECTURES = ["90a", "120a"]
SHARED_BYTES = 99 * 1024  # of a block on sm_120


def kernels(nvcc, source, architecture, options):
    """(name, registers, shared bytes, bytes in memory instead of registers) of each kernel."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
        result = subprocess.run(
            [nvcc, "-cubin", f"-gencode=arch=compute_{architecture},code=sm_{architecture}", "-Xptxas=-v", "-o", cubin.name]
            + options + [source], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{source} doesn't compile for sm_{architecture}:\n{result.stderr}")
    name = frame = None
    for line in result.stderr.splitlines():
        if m := re.search(r"Compiling entry function '(\w+)'", line):
            name = m[1]
        elif m := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            frame = int(m[2]) + int(m[3])
        elif name and (m := re.search(r"Used (\d+) registers", line)):
            shared = re.search(r"(\d+) bytes smem", line)
            yield name, int(m[1]), int(shared[1]) if shared else 0, frame
            name = None


def readable(names):
    lines = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True).stdout.splitlines()
    return [re.sub(r"strata::cuda::|\(anonymous namespace\)::|\(strata.*|^void ", "", line) for line in lines]


def main():
    arguments = sys.argv[1:]
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    nvcc, *sources = arguments[:cut]
    bad = 0
    for source in sources:
        for architecture in ARCHITECTURES:
            found = list(kernels(nvcc, source, architecture, arguments[cut + 1:]))
            if not found:
                sys.exit(f"{source} has no kernels")
            for name, (_, registers, shared, spilled) in zip(readable([k[0] for k in found]), found):
                wrong = "" if spilled == 0 and shared <= SHARED_BYTES else "  <- must not"
                bad += bool(wrong)
                print(f"sm_{architecture:5} {registers:3} registers {shared:6} bytes shared {spilled:4} bytes spilled"
                      f"  {name}{wrong}")
    if bad:
        sys.exit(f"{bad} kernels spill registers or take more than {SHARED_BYTES} bytes of shared memory")


main()
