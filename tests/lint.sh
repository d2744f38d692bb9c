#!/usr/bin/env bash
# Formatting, include order (docs/design.md, "Folders"), clang-tidy, shellcheck, style limits.
# usage: tests/lint.sh BUILD
set -uo pipefail
build=${1:-build}
fail=0
mapfile -t c < <(git ls-files --cached --others --exclude-standard '*.c' '*.h' | sort)
mapfile -t sh < <(git ls-files --cached --others --exclude-standard '*.sh' '.ci/run' | sort)

say() {
	echo "$1" >&2
	fail=1
}

clang-format --dry-run -Werror "${c[@]}" || say "clang-format: run make format"

# folder -> folders that its files may include
declare -A may=(
	[base]="base" [rpc]="base rpc" [sink]="base rpc sink" [bpf]="bpf" [capture]="base rpc sink capture bpf"
	[replay]="base rpc sink replay" [analyze]="base rpc sink analyze"
	[cli]="base rpc sink capture analyze replay cli bpf"
)
for f in "${c[@]}"; do
	dir=${f%%/*}
	[ -n "${may[$dir]:-}" ] || continue
	grep -nE '^#include "' "$f" | while IFS= read -r line; do
		inc=$(sed -E 's/.*"([^"]+)".*/\1/' <<<"$line")
		case $inc in */*) ;; *) continue ;; esac # generated: record.pb-c.h, probe.skel.h
		case " ${may[$dir]} " in *" ${inc%%/*} "*) ;; *) echo "$f:$line: $dir may not include ${inc%%/*}" ;; esac
	done
done | { ! grep .; } || say "include order is broken"
! grep -nE 'include "bpf/' capture/*.[ch] | grep -v 'bpf/event.h' || say "capture includes more of bpf than the contract"

for f in "${c[@]}"; do
	head -1 "$f" | grep -q 'SPDX-License-Identifier' || say "$f: no SPDX line"
	case $f in tests/unit/*_test.c) most=800 ;; *) most=600 ;; esac # a test is a list of cases
	[ "$(wc -l <"$f")" -le $most ] || say "$f: over $most lines"
done

tidy=$(command -v clang-tidy || command -v clang-tidy-14)
mapfile -t units < <(printf '%s\n' "${c[@]}" | grep -E '^(base|rpc|sink|capture|analyze|replay|cli)/.*\.c$')
# shellcheck disable=SC2016 # the inner shell expands
printf '%s\n' "${units[@]}" | xargs -P 2 -n 8 sh -c 'tidy=$1 gen=$2; shift 2
	"$tidy" --quiet "$@" -- -std=gnu17 -D_GNU_SOURCE -I. -isystem "$gen" 2>/dev/null' _ "$tidy" "$build/gen" ||
	say "clang-tidy found something"

[ ${#sh[@]} -eq 0 ] || shellcheck -x "${sh[@]}" || say "shellcheck found something"
python3 -m compileall -q tests >/dev/null || say "a Python file does not compile"

[ $fail -eq 0 ] && echo "lint: clean"
exit $fail
