#!/usr/bin/env python3
"""The share of lines that the tests have run: a line for each module under Sources, and the total.

    coverage.py FOLDER    FOLDER is the scratch path of a build with --enable-code-coverage; FOLDER/profiles holds the
                          profiles of the tests and of the programs that they started (LLVM_PROFILE_FILE)
"""

import json
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
built = Path(sys.argv[1])
target = json.loads(subprocess.run(["swift", "-print-target-info"], check=True, capture_output=True).stdout)
tools = Path(target["paths"]["runtimeResourcePath"]).parent.parent / "bin"

# A killed program may leave an incomplete profile, which is ignored.
profiles = sorted((built / "profiles").glob("*.profraw"))
(built / "profiles.txt").write_text("\n".join(map(str, profiles)))
subprocess.run([tools / "llvm-profdata", "merge", "-sparse", "-failure-mode=all", "-o", built / "all.profdata",
                "-input-files", built / "profiles.txt"], check=True, stderr=subprocess.DEVNULL)
tests, = (built / "debug").glob("*.xctest")
report = subprocess.run([tools / "llvm-cov", "export", "-summary-only", f"-instr-profile={built / 'all.profdata'}",
                         tests, "-object", built / "debug/stub53"], check=True, capture_output=True, text=True).stdout

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
