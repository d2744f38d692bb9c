#!/usr/bin/env bash
# Installs what building and testing sidetap need. Quiet; does nothing when all is there.
set -euo pipefail
packages=(
	gcc g++ libc6-dev make git ca-certificates pkg-config
	clang llvm clang-format clang-tidy libclang-rt-14-dev bpftool shellcheck
	libbpf-dev libelf-dev zlib1g-dev libpcap-dev librdkafka-dev libzstd-dev
	libprotobuf-c-dev protobuf-c-compiler protobuf-compiler libyaml-dev libjansson-dev libnghttp2-dev
	libisal-dev libmicrohttpd-dev libseccomp-dev libre2-dev libssl-dev libcmocka-dev
	python3 python3-venv thrift-compiler nginx-light haproxy nghttp2-proxy nghttp2-client curl wrk kcat tcpdump
	nftables iproute2
	util-linux procps strace
)
# A Java and a Maven from elsewhere will do (a real Kafka broker and Java peers in the tests); a Go for the Go
# peers must come from elsewhere: Debian's is too old for them.
command -v javac >/dev/null || packages+=(default-jdk-headless)
command -v mvn >/dev/null || packages+=(maven)
missing=()
for p in "${packages[@]}"; do
	[ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" != 0 ]; then
	echo "these packages are missing: ${missing[*]}; as root: apt-get install ${missing[*]}" >&2
	exit 1
fi
echo "installing ${#missing[@]} packages: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Packages that bring a daemon must not start it (policy-rc.d answers 101 for this run only).
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	trap 'rm -f "$log" "$policy"' EXIT
fi
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
	tail -20 "$log" >&2
	exit 1
fi
