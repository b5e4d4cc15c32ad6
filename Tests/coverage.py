#!/usr/bin/env python3
"""The share of lines that tests have run: a line for each module under Sources, and the total.

    coverage.py FOLDER    FOLDER is where `swift test --enable-code-coverage` has built, such as .build-coverage/debug
"""

import json
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
built = Path(sys.argv[1])
target = json.loads(subprocess.run(["swift", "-print-target-info"], check=True, capture_output=True).stdout)
llvm_cov = Path(target["paths"]["runtimeResourcePath"]).parent.parent / "bin/llvm-cov"
tests, = built.glob("*.xctest")
report = subprocess.run(
    [llvm_cov, "export", "-summary-only", f"-instr-profile={built / 'codecov/default.profdata'}",
     tests, "-object", built / "stub53"], check=True, capture_output=True, text=True).stdout

lines = {}
for file in json.loads(report)["data"][0]["files"]:
    path = Path(file["filename"])
    if path.is_relative_to(TOP / "Sources"):
        module = path.relative_to(TOP / "Sources").parts[0]
        run, all_lines = lines.get(module, (0, 0))
        summary = file["summary"]["lines"]
        lines[module] = (run + summary["covered"], all_lines + summary["count"])
for module, (run, all_lines) in sorted(lines.items()):
    print(f"{module:13} {run / all_lines:6.1%}  {run} of {all_lines} lines")
run, all_lines = (sum(column) for column in zip(*lines.values()))
print(f"{'total':13} {run / all_lines:6.1%}  {run} of {all_lines} lines")
