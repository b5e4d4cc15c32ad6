#!/usr/bin/env bash
# fuzz.sh PROGRAM SECONDS [TARGET...]: runs each target (all of them) for that long, as many at a time as there are
# cores. What was learned stays in .build/fuzz/TARGET, and so does the input that broke a rule.
set -uo pipefail
cd "$(dirname "$0")/../.."
program=$1 seconds=$2
shift 2
[ $# -gt 0 ] || mapfile -t targets < <("$program")
[ $# -eq 0 ] || targets=("$@")
mkdir -p .build/fuzz

# The backtracer of Swift would wait for a debugger's data; libFuzzer has a stack of its own.
export SWIFT_BACKTRACE=enable=no SWIFT_DETERMINISTIC_HASHING=1 ASAN_OPTIONS=quarantine_size_mb=32

run() {
    local target=$1 log=.build/fuzz/$1.log
    if "$program" "$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -verbosity=1 >"$log" 2>&1; then
        awk -v target="$target" '
            /DONE/ { for (i = 1; i < NF; i++) { if ($i == "cov:") edges = $(i + 1); if ($i == "corp:") kept = $(i + 1) } }
            /number_of_executed_units/ { runs = $2 }
            /average_exec_per_sec/ { rate = $2 }
            END { printf "%-14s %9d runs %7d/s %6d edges, corpus %s\n", target, runs, rate, edges, kept }' "$log"
    else
        echo "$target: a rule is broken; see $log, and for the input:"
        grep -aE 'Fatal error|Test unit written|^SUMMARY' "$log" | cut -c1-1000
        return 1
    fi
}
export -f run
export program seconds

printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I TARGET bash -c 'run TARGET'
