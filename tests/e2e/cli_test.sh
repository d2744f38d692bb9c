#!/usr/bin/env bash
# The program from the outside: help, wrong usage, configuration, doctor. No privilege is needed, no traffic made.
# usage: cli_test.sh PROGRAM
set -uo pipefail
program=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
n=0 failed=0

# report NAME RESULT WHY
report() {
	n=$((n + 1))
	if [ "$2" = 0 ]; then
		echo "ok $n - $1"
	else
		failed=$((failed + 1))
		echo "not ok $n - $1: $3"
	fi
}

# run ARGS...: leaves $rc, $out, $err
run() {
	rc=0
	timeout 20 "$program" "$@" >"$dir/out" 2>"$dir/err" </dev/null || rc=$?
	out=$(<"$dir/out") err=$(<"$dir/err")
}

# expect NAME CODE PATTERN ARGS...: exit code, and a line of either stream that holds the words
expect() {
	local name=$1 code=$2 words=$3
	shift 3
	run "$@"
	if [ "$rc" -ne "$code" ]; then
		report "$name" 1 "exit $rc, not $code; said: ${err:-$out}"
	elif ! grep -qF -- "$words" "$dir/out" "$dir/err"; then
		report "$name" 1 "no '$words' in: ${err:-$out}"
	else
		report "$name" 0
	fi
}

# quiet NAME FILE: nothing may be there
quiet() { report "$1" "$([ -s "$2" ] && echo 1 || echo 0)" "$(head -c 300 "$2")"; }

expect "alone it shows help" 0 "Usage: sidetap COMMAND"
quiet "help goes to stdout only" "$dir/err"
expect "--help" 0 "doctor" --help
expect "--version" 0 "sidetap " --version
expect "help capture" 0 "--port LIST" help capture
expect "help of nothing known" 2 "did you mean 'capture'" help captur
expect "unknown command" 2 "did you mean 'doctor'" docter
quiet "errors leave stdout empty" "$dir/out"
expect "option before the command" 2 "options come after the command" -p 80
for command in capture export ledger doctor; do
	expect "$command --help" 0 "$command" "$command" --help
	quiet "$command --help on stdout" "$dir/err"
	expect "$command: unknown option" 2 "no-such-option" "$command" --no-such-option
done

expect "S6: an escape is shown, not acted on" 2 '\x1b[31m' $'\e[31mred'
report "S6: no raw escape on stderr" "$(grep -q $'\e' "$dir/err" && echo 1 || echo 0)" "raw ESC"

# C3, and what is allowed
expect "capture --check" 0 "is valid" capture --check
expect "C3: sample 0" 0 "sample: 0" capture --check -v -s 0
expect "C3: sample 1" 0 "sample: 1" capture --check -v -s 1
expect "C3: sample 10%" 0 "sample: 0.1000" capture --check -v -s 10%
expect "C3: sample 1.1 refused" 2 "allowed is 0% to 100%" capture --check -s 1.1
expect "C3: sample -1 refused" 2 "allowed is 0% to 100%" capture --check -s -1
expect "near name" 2 "did you mean --sample" capture --smaple 1
expect "sink scheme" 2 "allowed is kafka://" capture -o postgres://x
expect "attach syntax" 2 "allowed is auto" capture -a ebpf
expect "no value" 2 "needs a value" capture --port

# C1: FILE:LINE:COLUMN, what is allowed, exit 2
config() { # NAME WORDS CONTENT
	printf '%b' "$3" >"$dir/c.yaml"
	expect "C1: $1" 2 "$dir/c.yaml:$2" capture --check -c "$dir/c.yaml"
}
config "unknown key" "2:1: smaple: no such key: did you mean sample" 'port: 80\nsmaple: 1\n'
config "duplicate key" "2:1: port: given twice" 'port: 80\nport: 81\n'
config "wrong type" "1:9: sample: '[...]' is a list" 'sample: [1]\n'
config "out of range" "1:7: port: '70000' is no port" 'port: 70000\n'
config "NaN" "1:9: sample: '.nan' is no share" 'sample: .nan\n'
config "tab" "2:1: a tab" 'limit:\n\tcalls: 1\n'
config "empty" "1:1: nothing in it" ''
config "binary" "1:1: not YAML" '\x7fELF\x01\x02'
truncate -s 1G "$dir/c.yaml"
expect "C1: a gigabyte" 2 "larger than 1 MiB" capture --check -c "$dir/c.yaml"
expect "C1: missing" 2 "No such file" capture --check -c "$dir/none.yaml"
expect "C1: a directory" 2 "not a regular file" capture --check -c "$dir"
printf 'port: [1, 2]\nsample: 50%%\n' >"$dir/c.yaml"
expect "flags win" 0 "port: 7" capture --check -v -c "$dir/c.yaml" -p 7
expect "the file fills the rest" 0 "sample: 0.5" capture --check -v -c "$dir/c.yaml" -p 7
expect "the example configuration" 0 "is valid" capture --check -c "$here/../../deploy/sidetap.yaml"

# C7: secrets of the environment and of the command line
export SIDETAP_POD=canary-77f1 CANARY=canary-77f1
for args in "--help" "capture --help" "doctor" "doctor --json" "nonsense"; do
	# shellcheck disable=SC2086
	run $args
	report "C7: '$args' shows no environment" \
		"$(grep -q canary-77f1 "$dir/out" "$dir/err" && echo 1 || echo 0)" "the canary is there"
done
unset SIDETAP_POD CANARY
run capture --check -v -o 'kafka://a/t?sasl.password=canary-88e2'
report "C7: --check masks a password" "$(grep -q canary-88e2 "$dir/out" "$dir/err" && echo 1 || echo 0)" "it is there"

# doctor: 0, or 3 when nothing can attach; one screen; JSON that parses
run doctor
report "doctor: exit code" "$([ "$rc" = 0 ] || [ "$rc" = 3 ]; echo $?)" "exit $rc: $err"
doctor_rc=$rc
report "doctor: one screen of 100 columns" \
	"$(awk 'length($0) > 100 { wide = 1 } END { exit wide || NR > 50 }' "$dir/out"; echo $?)" "$(wc "$dir/out")"
report "doctor: no colour off a terminal" "$(grep -q $'\e' "$dir/out" && echo 1 || echo 0)" "ESC"
for word in cgroup socket pcap "Linux $(uname -r)"; do
	report "doctor names $word" "$(grep -qF "$word" "$dir/out"; echo $?)" "$out"
done
run doctor --json
report "doctor --json: same exit code" "$([ "$rc" = "$doctor_rc" ]; echo $?)" "$rc, not $doctor_rc"
report "doctor --json parses" "$(python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
assert len(d["attach"]) == 3 and d["host"]["release"]' "$dir/out" 2>&1 >/dev/null | wc -l)" "$out"
run doctor -o kafka://127.0.0.1:1/t
report "doctor: brokers that are not there" "$(grep -q 'Kafka cannot take records' "$dir/out"; echo $?)" "$out"
expect "doctor: another sink" 2 "allowed is kafka://" doctor -o file:/x
if command -v setpriv >/dev/null && [ "$(id -u)" = 0 ]; then
	rc=0
	timeout 20 setpriv --bounding-set -all --inh-caps -all --reuid 65534 --clear-groups \
		"$program" doctor >"$dir/out" 2>"$dir/err" || rc=$?
	report "V1: without a capability: exit 3" "$([ "$rc" = 3 ]; echo $?)" "exit $rc"
	report "V1: it says what to give" "$(grep -q 'capabilities BPF, NET_ADMIN, NET_RAW' "$dir/out"; echo $?)" "$(<"$dir/out")"
else
	echo "ok $((n += 1)) - V1 # SKIP needs root and setpriv"
fi

# P10: closed and broken outputs
timeout 20 "$program" --help >&- 2>/dev/null
report "P10: stdout closed" "$([ $? -lt 124 ]; echo $?)" "died"
timeout 20 "$program" docter 2>&-
report "P10: stderr closed" "$([ $? = 2 ]; echo $?)" "not exit 2"
timeout 20 bash -c "set -o pipefail; '$program' capture --help | true"
report "P10: reader gone" "$([ $? -lt 124 ]; echo $?)" "killed by SIGPIPE"
report "deploy/ephemeral.json parses" "$(python3 -m json.tool "$here/../../deploy/ephemeral.json" >/dev/null; echo $?)" "JSON"

echo "1..$n"
[ $failed = 0 ]
