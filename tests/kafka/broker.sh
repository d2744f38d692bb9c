#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A real Kafka broker, or three, for the tests.
#   broker.sh fetch                    the jars into build/cache/kafka (Maven, once; then nothing)
#   broker.sh start DIR PORT           data, log and pid file under DIR; controller on PORT + 1; returns once it answers
#   broker.sh secure DIR PORT          the same, and SASL_SSL on PORT + 2, SSL on PORT + 3: DIR/tls/ca.pem signed it for
#                                      localhost, 127.0.0.1 and kafka.test, DIR/tls/other.pem did not; PLAIN and
#                                      SCRAM know alice with the password in DIR/tls/password
#   broker.sh cluster DIR PORT         three of them under DIR/1 .. DIR/3, on PORT, PORT + 2, PORT + 4
#   broker.sh node DIR PORT N          starts one of the three again
#   broker.sh stop DIR                 SIGTERM, waits; of a cluster: all
#   broker.sh tools                    builds topic and mock into build/cache/kafka; prints that directory
# KAFKA_VERSION chooses another version than 4.4.0. librdkafka before 2.6.1 can do SCRAM with 3.7.1 and older only.
# Exit code 77: something it needs is not installed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=$here/../../build/cache/kafka
version=${KAFKA_VERSION:-4.4.0}
libs=$cache/libs-$version
cluster=${KAFKA_CLUSTER_ID:-AAAAAAAAQACAAAAAAAAAAA}

need() {
	for program; do
		command -v "$program" >/dev/null || { echo "broker.sh: $program is not installed" >&2; exit 77; }
	done
}

fetch() {
	mkdir -p "$cache"
	[ -e "$libs/complete" ] && return
	need mvn java
	exec 9>"$cache/lock"
	flock 9
	[ -e "$libs/complete" ] && return
	rm -rf "$libs"
	mvn -q -B -f "$here/pom.xml" -Dkafka.version="$version" dependency:copy-dependencies \
		-DoutputDirectory="$libs" >&2
	touch "$libs/complete"
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
		-Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$libs/*" "$@"
}

# key NAME COMMAND OPTION...: keytool on the store of that name
key() {
	store=$1 command=$2
	shift 2
	keytool "$command" -keystore "$store.p12" -storetype PKCS12 -storepass changeit -alias x "$@" 2>/dev/null
}

# Two authorities, and a certificate of the first: made once
certificates() {
	[ -e "$cache/tls/password" ] && return
	need keytool
	rm -rf "$cache/tls"
	mkdir -p "$cache/tls"
	(
		cd "$cache/tls"
		for ca in ca other; do
			key $ca -genkeypair -keyalg EC -dname "CN=$ca" -ext bc:c -validity 3650
			key $ca -exportcert -rfc >$ca.pem
		done
		key server -genkeypair -keyalg EC -dname CN=localhost -validity 3650
		key server -certreq -ext san=dns:localhost,dns:kafka.test,ip:127.0.0.1 >server.csr
		key ca -gencert -rfc -ext san=dns:localhost,dns:kafka.test,ip:127.0.0.1 -validity 3650 \
			<server.csr >server.pem
		keytool -importcert -noprompt -keystore server.p12 -storetype PKCS12 -storepass changeit -alias ca \
			-file ca.pem 2>/dev/null
		cat server.pem ca.pem >chain.pem
		key server -importcert -noprompt -file chain.pem
		echo alices-secret >password
	)
}

# secure_properties DIR PORT: what is added to server.properties
secure_properties() {
	cat <<-END
		listeners=PLAINTEXT://127.0.0.1:$2,CONTROLLER://127.0.0.1:$(($2 + 1)),SASL_SSL://127.0.0.1:$(($2 + 2)),SSL://127.0.0.1:$(($2 + 3))
		inter.broker.listener.name=PLAINTEXT
		listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
		ssl.keystore.type=PKCS12
		ssl.keystore.location=$1/tls/server.p12
		ssl.keystore.password=changeit
		sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
		listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
		listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
		listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="$(cat "$1/tls/password")";
	END
}

# properties DIR PORT NODE VOTERS: one node's server.properties
properties() {
	sed "s|@DIR@|$1|; s|@PORT@|$2|; s|@CPORT@|$(($2 + 1))|g; s|^node.id=.*|node.id=$3|; \
		s|^controller.quorum.voters=.*|controller.quorum.voters=$4|" "$here/server.properties.in"
}

# format DIR OPTION...
format() {
	store=$1
	shift
	[ -d "$store/data" ] || java_in "$store" kafka.tools.StorageTool format -t "$cluster" \
		-c "$store/server.properties" "$@" >"$store/format.log" 2>&1 || { tail -5 "$store/format.log" >&2; exit 1; }
}

# launch DIR: the process, and its pid in DIR/pid
launch() {
	java_in "$1" kafka.Kafka "$1/server.properties" >>"$1/broker.log" 2>&1 </dev/null 9>&- &
	shell=$!
	# java is a child of the subshell of the function above: the pid to signal is its own.
	java_pid=
	while [ -z "$java_pid" ] && kill -0 "$shell" 2>/dev/null; do
		java_pid=$(cat "/proc/$shell/task/$shell/children" 2>/dev/null || true)
		[ "$(cat "/proc/$shell/comm" 2>/dev/null)" != java ] || java_pid=$shell
	done
	echo "${java_pid:-$shell}" | tr -d ' ' >"$1/pid"
}

# await DIR PORT NODE
await() {
	read -r pid <"$1/pid"
	tries=0
	until timeout 5 kcat -b "127.0.0.1:$2" -L -m 1 2>/dev/null | grep -q "broker $3 at"; do
		kill -0 "$pid" 2>/dev/null || { tail -20 "$1/broker.log" >&2; exit 1; }
		tries=$((tries + 1))
		[ "$tries" -lt 600 ] || { echo "broker.sh: no answer" >&2; kill -9 "$pid"; exit 1; }
		sleep 0.05
	done
}

begin() {
	need java kcat
	fetch
	mkdir -p "$1"
}

start() {
	begin "$1"
	properties "$1" "$2" 1 "1@127.0.0.1:$(($2 + 1))" >"$1/server.properties"
	format "$1"
	launch "$1"
	await "$1" "$2" 1
}

secure() {
	begin "$1"
	certificates
	cp -r "$cache/tls" "$1"
	properties "$1" "$2" 1 "1@127.0.0.1:$(($2 + 1))" | grep -v '^listeners=' >"$1/server.properties"
	secure_properties "$1" "$2" >>"$1/server.properties"
	alice="[name=alice,password=$(cat "$1/tls/password")]"
	format "$1" --add-scram "SCRAM-SHA-256=$alice" --add-scram "SCRAM-SHA-512=$alice"
	launch "$1"
	await "$1" "$2" 1
}

voters() {
	echo "1@127.0.0.1:$(($1 + 1)),2@127.0.0.1:$(($1 + 3)),3@127.0.0.1:$(($1 + 5))"
}

node() {
	begin "$1/$3"
	port=$(($2 + 2 * ($3 - 1)))
	properties "$1/$3" $port "$3" "$(voters "$2")" >"$1/$3/server.properties"
	format "$1/$3"
	launch "$1/$3"
}

in_cluster() {
	for n in 1 2 3; do
		node "$1" "$2" $n
	done
	for n in 1 2 3; do
		await "$1/$n" $(($2 + 2 * (n - 1))) $n
	done
}

stop() {
	if [ ! -e "$1/pid" ]; then
		for n in "$1"/*/pid; do
			stop "${n%/pid}"
		done
		return
	fi
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
secure) secure "$2" "$3" ;;
cluster) in_cluster "$2" "$3" ;;
node)
	node "$2" "$3" "$4"
	await "$2/$4" $(($3 + 2 * ($4 - 1))) "$4"
	;;
stop) stop "$2" ;;
*)
	sed -n '3,14s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac
