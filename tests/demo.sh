#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make demo: real calls between a real proxy (HAProxy) and a real service (nginx) on loopback, mirrored by the eBPF
# probe into a Kafka topic, read back while it runs, and a ledger that proves that none is missing.
# Needs root. Everything happens in namespaces and a cgroup of its own; nothing is left behind.
#   demo.sh [PROGRAM]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export PATH=$PATH:/usr/sbin:/sbin
service=9080 proxy=15001
if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi

fail() {
	echo "demo: $*" >&2
	exit 1
}

heading() {
	printf '\n%s%s%s\n' "$bold" "$*" "$plain"
}

# The command as a reader would type it
show() {
	printf '%s$ sidetap %s%s\n' "$dim" "$*" "$plain"
}

cgroup2_mount() {
	awk '{ for (i = 7; i <= NF; i++) if ($i == "-" && $(i + 1) == "cgroup2" && $4 == "/") { print $5; exit } }' \
		/proc/self/mountinfo
}

outside() {
	local mount code=0
	[ -x "$program" ] || fail "$program is not there: run make"
	[ "$(id -u)" = 0 ] || fail "needs root: the eBPF probe and the namespaces do"
	for tool in nginx haproxy curl python3 unshare; do
		command -v $tool >/dev/null || fail "$tool is not installed: run make deps"
	done
	mount=$(cgroup2_mount)
	[ -n "$mount" ] || fail "no cgroup v2 is mounted"
	work=$(mktemp -d)
	cgroup=$mount/sidetap-demo-$$
	mkdir "$cgroup"
	trap clean EXIT
	(
		echo 0 >"$cgroup/cgroup.procs"
		exec unshare -n -p -m -f --mount-proc --kill-child "$0" --inside "$program" "$work" "$cgroup"
	) || code=$?
	return $code
}

clean() {
	local tries=0
	rm -rf "$work"
	until rmdir "$cgroup" 2>/dev/null || [ $((tries += 1)) -gt 100 ]; do sleep 0.02; done
}

# until_true SECONDS WHAT COMMAND...
until_true() {
	local end=$((SECONDS + $1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || fail "not within time: $what"
		sleep 0.05
	done
}

listens() {
	grep -q " 0*[0-9A-F]*:$(printf %04X "$1") 00000000:0000 0A " /proc/net/tcp
}

start_peers() {
	mkdir -p "$work/www"
	chmod 755 "$work"
	head -c 16384 /dev/zero | tr '\0' x >"$work/www/16k"
	echo '{"user":"mia","items":[1,2,3]}' >"$work/www/order.json"
	cat >"$work/nginx.conf" <<-END
		daemon off; user root; worker_processes 1; pid $work/nginx.pid; error_log $work/nginx.err;
		events { worker_connections 256; }
		http {
		  access_log off; client_body_temp_path $work/t1; proxy_temp_path $work/t2;
		  fastcgi_temp_path $work/t3; uwsgi_temp_path $work/t4; scgi_temp_path $work/t5;
		  server {
		    listen 127.0.0.1:$service; root $work/www; if_modified_since before;
		    location /users/ { return 200 '{"id":"\$uri"}\n'; }
		    location = /missing { return 404 "no such order\n"; }
		    location = /broken { return 500 "the service failed\n"; }
		    location = /moved { return 302 /users/7; }
		    location = /empty { return 204; }
		    location /upload { return 201 "stored\n"; }
		  }
		}
	END
	cat >"$work/haproxy.cfg" <<-END
		defaults
		  mode http
		  timeout connect 2s
		  timeout client 30s
		  timeout server 30s
		  http-reuse always
		frontend in
		  bind 127.0.0.1:$proxy
		  default_backend out
		backend out
		  server s 127.0.0.1:$service
	END
	nginx -p "$work" -c "$work/nginx.conf" 2>"$work/nginx.out" &
	haproxy -f "$work/haproxy.cfg" >"$work/haproxy.out" 2>&1 &
	until_true 10 "nginx" listens $service
	until_true 10 "HAProxy" listens $proxy
}

# One process hosts the embedded Kafka cluster, so that the topic outlives the capture that wrote it.
start_kafka() {
	"$program" capture -q -p 1 -a "cgroup:$cgroup" -o kafka:embedded --ready-file "$work/kafka.ready" \
		>"$work/kafka.out" 2>&1 &
	kafka_pid=$!
	until_true 10 "embedded Kafka" grep -q 'bootstrap.servers=' "$work/kafka.out"
	bootstrap=$(sed -n 's/.*bootstrap\.servers=//p' "$work/kafka.out" | head -1)
	topic=kafka://$bootstrap/calls
}

start_capture() {
	show "capture --port $proxy,$service --attach cgroup --sink $topic"
	"$program" capture -p "$proxy,$service" -a "cgroup:$cgroup" -o "$topic" \
		--ready-file "$work/ready" >"$work/capture.out" 2>&1 &
	capture_pid=$!
	until_true 10 "capture" test -e "$work/ready" || { cat "$work/capture.out" >&2; exit 1; }
	cat "$work/capture.out"
}

calls=0
call() {
	local n
	curl -sS --max-time 5 "$@" >/dev/null || fail "curl $* failed"
	n=$(printf '%s\n' "$@" | grep -c "^http:")
	calls=$((calls + n))
}

send_calls() {
	local u=http://127.0.0.1:$proxy
	call "$u/order.json"
	call "$u/16k"
	call "$u/users/1" "$u/users/2" "$u/users/3" "$u/users/4" # one connection, kept alive
	call -I "$u/16k"
	call -H 'Range: bytes=0-99' "$u/16k"
	call -H 'If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT' "$u/16k"
	call -X POST -H 'Content-Type: application/json' -d '{"item":"tea","count":2}' "$u/upload/json"
	call -X PUT -T "$work/www/16k" "$u/upload/file"
	call -X POST -H 'Transfer-Encoding: chunked' -d 'sent in chunks' "$u/upload/chunked"
	call -F 'file=@'"$work/www/order.json" "$u/upload/form"
	call -X DELETE "$u/users/9"
	call "$u/missing"
	call "$u/broken"
	call "$u/moved"
	call "$u/empty"
	call -u mia:secret "$u/users/me?access_token=very-secret"
	call -0 "$u/users/http10"
	echo "$calls calls sent by curl; HAProxy passed each on to nginx."
}

# All records are in the topic: two hops for each call.
read_topic() {
	"$program" export -i "$topic" -f jsonl >"$work/calls.jsonl" 2>"$work/export.err" &&
		[ "$(wc -l <"$work/calls.jsonl")" -ge $((2 * calls)) ]
}

table() {
	python3 -B - "$work/calls.jsonl" "$calls" "$proxy" "$service" <<-'END'
		import collections, datetime, json, sys
		path, calls, proxy, service = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
		records = [json.loads(line) for line in open(path)]
		records.sort(key=lambda r: r["request"]["start_unix_ns"])
		row = "{:<12} {:<33} {:<6} {:<27} {:>6} {:>9} {:>6} {:>6}"
		print(row.format("time", "client -> server", "method", "path", "status", "duration", "sent", "got"))
		for r in records:
		    q, s = r.get("request", {}), r.get("response", {})
		    t = datetime.datetime.fromtimestamp(q["start_unix_ns"] / 1e9).strftime("%H:%M:%S.%f")[:12]
		    ends = "%s -> %s" % (r.get("client_process", r["client"]), r.get("server_process", r["server"]))
		    ms = (s.get("end_unix_ns", q["end_unix_ns"]) - q["start_unix_ns"]) / 1e6
		    print(row.format(t, ends[:33], r["method"], r["path"][:27], r["status_code"], "%.2f ms" % ms,
		                     q.get("body_bytes", 0), s.get("body_bytes", 0)))
		hops = collections.Counter(r["server"].rpartition(":")[2] for r in records)
		print("\n%d records: %d from curl to HAProxy, %d from HAProxy to nginx; %d calls were sent." % (
		    len(records), hops[proxy], hops[service], calls))
		sys.exit(hops[proxy] != calls or hops[service] != calls or len(records) != 2 * calls)
	END
}

one_record() {
	python3 -B - "$work/calls.jsonl" <<-'END'
		import json, re, sys
		for line in open(sys.argv[1]):
		    r = json.loads(line)
		    if r["path"] == "/upload/json":
		        text = json.dumps(r, indent=2, ensure_ascii=False)
		        print(re.sub(r'{\s+("name".*),\s+("value.*),\s+(".*")\s+}', r"{\1, \2, \3}", text))
		        break
		else:
		    sys.exit("the call to /upload/json is not there")
	END
}

inside() {
	cd "$work"
	ip link set lo up
	heading "1. A service (nginx, port $service), a proxy in front of it (HAProxy, port $proxy), and Kafka"
	start_peers
	start_kafka
	echo "nginx and HAProxy are running; an embedded Kafka cluster answers at $bootstrap."
	heading "2. sidetap attaches its eBPF probe beside them and mirrors into the topic 'calls'"
	start_capture
	heading "3. Calls through the proxy"
	send_calls
	heading "4. The topic, read while the capture runs"
	show "export --source $topic --format jsonl"
	until_true 10 "$((2 * calls)) records in the topic" read_topic
	table || fail "a call is missing"
	heading "5. One record in full (secrets never leave the process: headers and parameters read [redacted])"
	one_record
	if grep -q 'very-secret\|bWlhOnNlY3JldA' "$work/calls.jsonl"; then
		fail "a secret is in the topic"
	fi
	heading "6. The capture ends: it detaches, drains, and writes its last ledger"
	kill -TERM $capture_pid
	wait $capture_pid || fail "the capture ended with $?: $(tail -3 "$work/capture.out")"
	grep -v '^$' "$work/capture.out" | tail -n 2
	heading "7. The proof: every stage balances, every record is in the topic"
	show "ledger --source $topic --check --lossless"
	"$program" ledger -i "$topic" --check --lossless || fail "the ledger does not prove it"
	kill -TERM $kafka_pid
	wait $kafka_pid || true
	printf '\n%sAll %d calls, seen on both sides of the proxy, are in the topic; nothing was lost.%s\n' \
		"$bold" "$calls" "$plain"
}

if [ "${1-}" = --inside ]; then
	program=$2 work=$3 cgroup=$4
	inside
else
	program=$(realpath "${1:-$here/../build/sidetap}")
	outside
fi
