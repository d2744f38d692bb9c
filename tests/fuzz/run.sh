#!/usr/bin/env bash
# Runs each fuzz target for SECONDS (0: only its corpus, tests/corpus/NAME). A finding is kept in the build folder.
# usage: tests/fuzz/run.sh BINARIES SECONDS
set -uo pipefail
bin=$1 seconds=${2:-60} fail=0
for f in "$bin"/*_fuzz; do
	name=$(basename "$f" _fuzz)
	seeds=tests/corpus/$name
	work=$bin/corpus-$name
	mkdir -p "$work"
	args=(-max_len=65536 -rss_limit_mb=2048 -timeout=20 -artifact_prefix="$bin/finding-$name-" "$work")
	[ -d "$seeds" ] && args+=("$seeds")
	[ "$name" = conn ] && args+=(tests/corpus/*/)
	if [ "$seconds" = 0 ]; then args=(-runs=2000 -seed=1 "${args[@]}"); else args=(-max_total_time="$seconds" "${args[@]}"); fi
	if "$f" "${args[@]}" >"$bin/$name.log" 2>&1; then
		echo "ok fuzz-$name"
	else
		echo "not ok fuzz-$name: $(grep -m1 -E 'SUMMARY|ERROR' "$bin/$name.log")"
		tail -30 "$bin/$name.log"
		fail=1
	fi
done
exit $fail
