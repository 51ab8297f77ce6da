#!/usr/bin/env python3
"""Sums up the ctest results under a build folder: how much ran, and by name what did not."""
import collections
import pathlib
import re
import shutil
import sys
import xml.etree.ElementTree

build = pathlib.Path(sys.argv[1])
trees = {"tests": build, "tests under the sanitizers": build / "sanitize", "fuzzers": build / "fuzz"}
skipped = collections.Counter()
for name, tree in trees.items():
    results = tree / "results.xml"
    if not results.exists():
        missing = name == "fuzzers" and not shutil.which("clang++")
        skipped[f"{name} ({'clang++ missing' if missing else 'not run'})"] += 1
        continue
    programs = list(xml.etree.ElementTree.parse(results).iter("testcase"))
    failed = [p.get("name") for p in programs if p.get("status") == "fail"]
    cases = 0
    for program in programs:
        output = program.findtext("system-out") or ""
        cases += sum(map(int, re.findall(r"^\[==========\] (\d+) tests? from .* ran\.", output, re.M)))
        reasons = re.findall(r": Skipped\n(.+)", output) + re.findall(r"^skipped: (.+)", output, re.M)
        skipped.update(reasons)
        if program.get("status") == "notrun" and not reasons:
            skipped[f"{program.get('name')} (not run)"] += 1
    seconds = sum(float(p.get("time", 0)) for p in programs)
    print(f"{name}: {len(programs)} programs, {cases} cases, {len(failed)} failed"
          f"{': ' + ', '.join(failed) if failed else ''}; {seconds:.0f} s")

flags = set()
cpuinfo = pathlib.Path("/proc/cpuinfo")
if cpuinfo.exists():
    flags = set(re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(), re.M).group(1).split())
for isa, needs in {"avx2": {"avx2", "fma"}, "avx512": {"avx512f", "avx512bw", "avx512vl", "avx512dq"}}.items():
    if not needs <= flags:
        skipped[f"{isa} kernels (this CPU has none)"] = 1
if "STRATA_CUDA:BOOL=ON" not in (build / "CMakeCache.txt").read_text():
    skipped["CUDA (this build has no CUDA backend)"] = 1
print("skipped:" if skipped else "skipped: nothing")
for reason, count in sorted(skipped.items()):
    print(f"  {reason}" + (f", {count} cases" if count > 1 else ""))
