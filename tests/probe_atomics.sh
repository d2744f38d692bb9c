#!/usr/bin/env bash
# Atomics that return a value, and all but add, need Linux 5.12 (EINVAL on 5.10): the probe has none.
# usage: tests/probe_atomics.sh BUILD
set -euo pipefail
objdump=$(command -v llvm-objdump || command -v llvm-objdump-14)
if "$objdump" -d "$1/bpf/probe.bpf.o" | grep -E 'atomic_|xchg|lock ' | grep -vE 'lock \*\(u64 \*\).* \+= '; then
	echo "not ok probe has no value-returning atomics"
	exit 1
fi
[ "$("$objdump" -d "$1/bpf/probe.bpf.o" | grep -c "lock \*")" -gt 0 ] || { echo "not ok the probe counts with atomic adds"; exit 1; }
echo "ok probe has no value-returning atomics"
