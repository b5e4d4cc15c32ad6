#!/usr/bin/env bash
# Counts the instructions of each step of a query with callgrind: the same on every machine, however busy it is.
#
#   instructions.sh PROGRAM BASELINE           compares with the baseline; exit code 1 where one costs over 5 % more
#   instructions.sh PROGRAM BASELINE update    rewrites the baseline
#
# The cost of an operation is the difference of two runs, so that setup does not count. `json` is `record` plus
# formatting its line.
set -euo pipefail
program=$1 baseline=$2 update=${3:-}
margin=5 few=20000 many=100000

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Valgrind 3.19 can't read Clang's debug information for C, and gives up.
strip --strip-debug -o "$folder/program" "$program"

count() {
    # Two sources of variation are left besides the one that CFixedSeed removes: Swift's hashing is seeded randomly, and
    # the C library picks its memory routines by processor.
    if ! GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512VL,-AVX2,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM \
        SWIFT_DETERMINISTIC_HASHING=1 valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        "$folder/program" "$@" >"$folder/$1.$2" 2>&1; then
        tail -n 20 "$folder/$1.$2" >&2
        echo "$1 could not be counted" >&2
        exit 1
    fi
    awk '$2 == "Collected" { print $4 }' "$folder/$1.$2"
}

measured=$folder/measured
for kind in parse hosts zone wildcard nxdomain cache hosts+rules cache+rules record json; do
    count "$kind" "$few" >"$folder/few" &
    more=$(count "$kind" "$many")
    wait $!
    echo "$kind $(((more - $(cat "$folder/few")) / (many - few)))" >>"$measured"
done

if [ "$update" = update ]; then
    cp "$measured" "$baseline"
    cat "$baseline"
    exit
fi
awk -v margin="$margin" '
    NR == FNR { was[$1] = $2; next }
    FNR == 1 { printf "%-12s %12s %9s %8s\n", "operation", "instructions", "baseline", "change" }
    {
        change = $1 in was ? ($2 / was[$1] - 1) * 100 : 0
        verdict = ""
        if (change > margin) { verdict = "  more than " margin " % over the baseline"; worse = 1 }
        if (change < -margin) verdict = "  better: make bench-instructions BASELINE=update"
        printf "%-12s %12d %9d %+7.1f%%%s\n", $1, $2, was[$1], change, verdict
    }
    END { exit worse }' "$baseline" "$measured"
