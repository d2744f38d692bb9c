#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Golden captures: capture -r NAME.pcap, export, and the difference to NAME.jsonl; and what the applications
# logged at the time against it, so that the expected lines cannot be wrong together with the program.
#   run.sh PROGRAM [NAME...]
#   ACCEPT=1 run.sh PROGRAM [NAME...]     takes the lines as expected where they agree with the log
set -u
here=$(cd "$(dirname "$0")" && pwd)
program=${1:?usage: run.sh PROGRAM [NAME...]}
shift
python=/usr/bin/python3
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0

one() {
	local name=$1 dir=$tmp/$1
	mkdir "$dir"
	"$program" capture -r "$here/$name.pcap" --no-redact -q -o "file:$dir/records" 2>"$dir/err" ||
		{ echo "capture -r ended with $?: $(tail -c 300 "$dir/err")"; return 1; }
	"$program" ledger -i "file:$dir/records" --check >"$dir/ledger" 2>&1 ||
		{ echo "ledger --check: $(tail -c 300 "$dir/ledger")"; return 1; }
	"$program" export -i "file:$dir/records" -f jsonl >"$dir/lines" 2>"$dir/err" ||
		{ echo "export ended with $?: $(tail -c 300 "$dir/err")"; return 1; }
	"$python" -B "$here/golden.py" normalise <"$dir/lines" >"$dir/seen" || return 1
	if [ "${ACCEPT-}" = 1 ]; then
		"$python" -B "$here/golden.py" accept "$name" "$dir/seen" 2>&1 || return 1
	fi
	"$python" -B "$here/golden.py" check "$name" <"$dir/seen" 2>&1 || return 1
	diff "$here/$name.jsonl" "$dir/seen" >"$dir/diff" 2>&1 ||
		{ echo "differs: $(cut -c 1-400 "$dir/diff")"; return 1; }
}

[ $# -gt 0 ] || set -- "$here"/*.pcap
for pcap; do
	name=$(basename "$pcap" .pcap)
	if why=$(one "$name"); then
		echo "ok golden_$name"
		passed=$((passed + 1))
	else
		echo "not ok golden_$name: $(echo "$why" | tr '\n' ' ')"
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
