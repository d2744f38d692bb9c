#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A real Kafka broker for the tests.
#   broker.sh fetch               the jars into build/cache/kafka (Maven, once; then nothing)
#   broker.sh start DIR PORT      data, log and pid file under DIR; controller on PORT + 1; returns once it answers
#   broker.sh stop DIR            SIGTERM, waits
#   broker.sh tools               builds topic and mock into build/cache/kafka; prints that directory
# Exit code 77: something it needs is not installed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=$here/../../build/cache/kafka
version=4.4.0

need() {
	for program; do
		command -v "$program" >/dev/null || { echo "broker.sh: $program is not installed" >&2; exit 77; }
	done
}

fetch() {
	mkdir -p "$cache"
	[ -e "$cache/complete-$version" ] && return
	need mvn java
	exec 9>"$cache/lock"
	flock 9
	[ -e "$cache/complete-$version" ] && return
	rm -rf "$cache/libs"
	mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$cache/libs" >&2
	touch "$cache/complete-$version"
}

tools() {
	mkdir -p "$cache"
	for tool in topic mock; do
		[ "$cache/$tool" -nt "$here/$tool.c" ] && continue
		"${CC:-cc}" -std=gnu17 -O2 -Wall -Wextra -Werror -o "$cache/$tool.$$" "$here/$tool.c" -lrdkafka
		mv "$cache/$tool.$$" "$cache/$tool"
	done
	echo "$cache"
}

java_in() {
	dir=$1
	shift
	java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.io.tmpdir="$dir" \
		-Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$cache/libs/*" "$@"
}

start() {
	dir=$1 port=$2
	need java kcat
	fetch
	mkdir -p "$dir"
	sed "s|@DIR@|$dir|; s|@PORT@|$port|; s|@CPORT@|$((port + 1))|g" "$here/server.properties.in" \
		>"$dir/server.properties"
	[ -d "$dir/data" ] || java_in "$dir" kafka.tools.StorageTool format -t AAAAAAAAQACAAAAAAAAAAA \
		-c "$dir/server.properties" >"$dir/format.log" 2>&1
	java_in "$dir" kafka.Kafka "$dir/server.properties" >>"$dir/broker.log" 2>&1 </dev/null 9>&- &
	pid=$!
	tries=0
	until kcat -b "127.0.0.1:$port" -L -m 1 2>/dev/null | grep -q 'broker 1 at'; do
		kill -0 "$pid" 2>/dev/null || { tail -20 "$dir/broker.log" >&2; exit 1; }
		tries=$((tries + 1))
		[ "$tries" -lt 600 ] || { echo "broker.sh: no answer" >&2; kill -9 "$pid"; exit 1; }
		sleep 0.05
	done
	# java is a child of the subshell of the function above: the pid to signal is its own.
	java_pid=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null || true)
	echo "${java_pid:-$pid}" >"$dir/pid"
}

stop() {
	read -r pid <"$1/pid"
	kill "$pid" 2>/dev/null || return 0
	tries=0
	while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 200 ]; do
		tries=$((tries + 1))
		sleep 0.05
	done
	kill -9 "$pid" 2>/dev/null || true
}

case ${1-} in
fetch) fetch ;;
tools) tools ;;
start) start "$2" "$3" ;;
stop) stop "$2" ;;
*)
	sed -n '3,8s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac
