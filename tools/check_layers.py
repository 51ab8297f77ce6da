#!/usr/bin/env python3
"""Holds the #includes of src/ and apps/ to the layer table of ARCHITECTURE.md; prints each that it forbids."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
rows = re.findall(r"^\| `([\w/]+)` \|.*\| ([^|]+) \|$", (root / "ARCHITECTURE.md").read_text(), re.M)
allowed = {folder: {folder, *re.findall(r"[\w/]+", names)} for folder, names in rows}
failures = 0
for path in sorted([*root.glob("src/**/*.[hc]*"), *root.glob("apps/*.[hc]*")]):
    folder = str(path.relative_to(root / "src").parent) if path.is_relative_to(root / "src") else "apps"
    if folder not in allowed:
        print(f"{path.relative_to(root)}: the folder {folder} has no row in ARCHITECTURE.md")
        failures += 1
        continue
    for included in re.findall(r'^#include "([^"]+)"', path.read_text(), re.M):
        if "all" not in allowed[folder] and str(pathlib.Path(included).parent) not in allowed[folder]:
            print(f"{path.relative_to(root)}: {folder} must not include {included}")
            failures += 1
print(f"check_layers: {len(allowed)} layers, {failures} forbidden includes")
sys.exit(failures != 0)
