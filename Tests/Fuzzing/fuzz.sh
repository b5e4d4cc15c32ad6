#!/usr/bin/env bash
# fuzz.sh PROGRAM SECONDS [TARGET...]: runs each target (default: all) for that time, one per core at once. The corpus
# stays in .build/fuzz/TARGET, and so does an input that fails.
set -uo pipefail
cd "$(dirname "$0")/../.."
program=$1 seconds=$2
shift 2
[ $# -gt 0 ] || mapfile -t targets < <("$program")
[ $# -eq 0 ] || targets=("$@")
mkdir -p .build/fuzz

# Swift's backtracer would wait for debug data; libFuzzer prints its own stack trace.
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
