#!/usr/bin/env bash
# The demo is a promise of the README: it runs, shows calls and proves that none is missing.
# usage: tests/demo_test.sh PROGRAM
set -uo pipefail
out=$(mktemp)
trap 'rm -f "$out"' EXIT
if tests/demo.sh "$1" >"$out" 2>&1 </dev/null; then echo "ok demo"; else echo "not ok demo"; cat "$out"; exit 1; fi
