#!/usr/bin/env bash
# Runs every suite, says one line each, and closes with "N passed, N failed, N skipped".
# usage: tests/run.sh BUILD [slow]
# A suite prints TAP lines: "ok NAME", "not ok NAME: why", "ok NAME # SKIP why" or "SKIP NAME: why".
set -uo pipefail
build=${1:-build}
slow=${2:-}
logs=$build/test-logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0

count() { grep -cE "$1" "$2" || true; }

# suite NAME SECONDS COMMAND...: a hanging suite is a failed one
suite() {
	local name=$1 limit=$2 log=$logs/$1.log start=$SECONDS rc ok bad skip
	shift 2
	CMOCKA_MESSAGE_OUTPUT=TAP timeout -k 10 "$limit" "$@" >"$log" 2>&1 </dev/null
	rc=$?
	skip=$(count '^(ok .*# SKIP|SKIP )' "$log")
	ok=$(($(count '^ok ' "$log") - $(count '^ok .*# SKIP' "$log")))
	bad=$(count '^not ok ' "$log")
	if [ $rc -ne 0 ] && [ "$bad" -eq 0 ]; then
		bad=1
		echo "not ok $name: exit code $rc" >>"$log"
	fi
	if [ $((ok + bad + skip)) -eq 0 ]; then
		bad=1
		echo "not ok $name: it tested nothing" >>"$log"
	fi
	passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
	printf '%-28s %4d passed %3d failed %3d skipped  %3d s\n' "$name" "$ok" "$bad" "$skip" $((SECONDS - start))
	grep -E '^(ok .*# SKIP|SKIP )' "$log" | sed 's/^/    /'
	if [ "$bad" -gt 0 ]; then
		grep -E '^not ok ' "$log" | sed 's/^/    /'
		grep -vE '^(ok|not ok) ' "$log" | tail -25 | sed 's/^/    | /'
	fi
}

for t in "$build"/tests/*_test; do
	suite "unit-$(basename "$t" _test)" 300 "$t"
done
for t in "$build"/asan/tests/*_test; do
	case $t in */attach_bpf_test) continue ;; esac # runs once, above: it needs the real rings, not the sanitizers
	suite "asan-$(basename "$t" _test)" 600 "$t"
done
suite probe-atomics 30 tests/probe_atomics.sh "$build"
suite fuzz-corpus 300 tests/fuzz/run.sh "$build/fuzzing/fuzz" 0
suite golden 120 tests/golden/run.sh "$build/sidetap"
suite golden-asan 240 tests/golden/run.sh "$build/asan/sidetap"
suite cli 120 tests/e2e/cli_test.sh "$build/sidetap"
suite demo 120 tests/demo_test.sh "$build/sidetap"
suite install 60 tests/install_test.sh
suite e2e 900 python3 tests/e2e/run.py --program "$build/sidetap"
suite peers-kit 60 python3 tests/peers/kit_test.py
suite golden-cuts 600 tests/golden/cuts.py "$build/sidetap"
suite peers 900 python3 tests/peers/run.py --program "$build/sidetap"
if [ -n "$slow" ]; then
	suite redact-canary-all 1800 env SIDETAP_LONG=1 "$build/tests/redact_canary_test"
	suite kernels 3600 tests/kernels/run.sh "$build"
	suite golden-cuts-all 3600 tests/golden/cuts.py --all "$build/sidetap"
	suite peers-slow 5400 python3 tests/peers/run.py --slow --program "$build/sidetap"
	suite reliability 7200 python3 tests/reliability/run.py --program "$build/sidetap"
	suite e2e-slow 1800 python3 tests/e2e/run.py --slow --program "$build/sidetap"
	suite fuzz-long 3600 tests/fuzz/run.sh "$build/fuzzing/fuzz" 60
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
