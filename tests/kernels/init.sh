#!/bin/sh
# shellcheck shell=dash
# The guest's init: captures known transfers with each back end and judges what was recorded.
# Lines for tests/kernels/run.sh begin with "RESULT "; "| " is what to read when one fails.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=1777 tmpfs /tmp
ip link set lo up

# since MAJOR MINOR: is this kernel at least that?
since() {
	local major minor
	IFS=. read -r major minor _ <<-END
		$(uname -r)
	END
	[ "$major" -gt "$1" ] || { [ "$major" -eq "$1" ] && [ "${minor%%[!0-9]*}" -ge "$2" ]; }
}

fail() { # NAME WHY
	echo "RESULT not ok $1: $2"
	echo "| $1:"
	tail -n 60 "/tmp/$1/log" | cut -c 1-300 | sed 's/^/| /'
}

# The child PID has ended within SECONDS; the shell reaps it while it waits for sleep.
ended() { # PID SECONDS
	local n=$(($2 * 10))
	while kill -0 "$1" 2>/dev/null; do
		[ $n -gt 0 ] || return 1
		n=$((n - 1))
		sleep 0.1
	done
}

# start NAME ATTACH PORT [PRIVILEGES...]: sets pid, dir; 0: it is ready; 1: it ended, rc; 2: neither.
start() {
	local attach=$2 port=$3 n=600
	dir=/tmp/$1
	shift 3
	mkdir -p "$dir/out"
	[ $# -eq 0 ] || chown -R 65534:65534 "$dir"
	"$@" /sidetap capture -p "$port" -a "$attach" --body-limit none -o "file:$dir/out" \
		--ready-file "$dir/ready" >"$dir/log" 2>&1 &
	pid=$!
	until [ -e "$dir/ready" ]; do
		if ! kill -0 $pid 2>/dev/null; then
			wait $pid
			rc=$?
			return 1
		fi
		if [ $n -eq 0 ]; then
			kill -9 $pid
			return 2
		fi
		n=$((n - 1))
		sleep 0.1
	done
}

# Transfers through a capture that is ready, ends it, judges its records.
transfers() { # NAME BACKEND PORT
	if ! transfer get "$3" >>"$dir/log" 2>&1; then
		kill -9 $pid
		fail "$1" "the transfers themselves failed"
		return
	fi
	kill -TERM $pid
	if ! ended $pid 60; then
		kill -9 $pid
		fail "$1" "still there 60 s after SIGTERM"
		return
	fi
	wait $pid
	rc=$?
	[ $rc -eq 0 ] || { fail "$1" "capture: exit $rc"; return; }
	/sidetap export -i "file:$dir/out" -f jsonl --bodies base64 >"$dir/calls" 2>>"$dir/log" ||
		{ fail "$1" "export: exit $?"; return; }
	transfer judge "$2" "$dir/calls" >"$dir/judged" 2>&1 || {
		cat "$dir/judged" >>"$dir/log"
		/sidetap ledger -i "file:$dir/out" >>"$dir/log" 2>&1
		fail "$1" "$(head -n 1 "$dir/judged" | cut -c 1-200)"
		return
	}
	/sidetap ledger -i "file:$dir/out" --check >>"$dir/log" 2>&1 || { fail "$1" "ledger --check: exit $?"; return; }
	echo "RESULT ok $1"
}

uptime() {
	read -r now _ </proc/uptime
	echo "${now%.*}"
}

# captures NAME ATTACH BACKEND PORT [PRIVILEGES...]: it attaches, and what was sent is what is recorded.
captures() {
	local name=$1 backend=$3 port=$4 began
	began=$(uptime)
	start "$1" "$2" "$4" ${5:+/bin/privileges "$5" "$6"}
	case $? in
	0) transfers "$name" "$backend" "$port" ;;
	1) fail "$name" "capture ended before it was ready: exit $rc" ;;
	2) fail "$name" "not ready after 60 s" ;;
	esac
	echo "| $name: $(($(uptime) - began)) s"
	rm -rf "$dir/out" "$dir/calls"
}

# refuses NAME PATTERN ATTACH [PRIVILEGES...]: exit 3, and the reason has PATTERN.
refuses() {
	start "$1" "$3" 8080 ${4:+/bin/privileges "$4" "$5"}
	case $? in
	0) kill -9 $pid; fail "$1" "it attached" ;;
	2) fail "$1" "neither ready nor ended after 60 s" ;;
	1)
		if [ "$rc" -ne 3 ]; then
			fail "$1" "exit $rc, not 3"
		elif ! grep -qiE "$2" "$dir/log"; then
			fail "$1" "the reason does not say $2"
		else
			echo "RESULT ok $1"
		fi
		;;
	esac
}

# says NAME TEXT: the log of the capture NAME has TEXT
says() {
	if grep -qF "$2" "/tmp/$1/log"; then echo "RESULT ok $1-says-$2"; else fail "$1" "no line says $2"; fi
}

echo "| $(uname -r), RLIMIT_MEMLOCK $(ulimit -l) KiB, BTF $([ -e /sys/kernel/btf/vmlinux ] && echo yes || echo no)"
transfer serve 8080
mkdir /sys/fs/cgroup/service
sh -c 'echo $$ >/sys/fs/cgroup/service/cgroup.procs && exec transfer serve 8081'

captures pcap pcap pcap 8080
captures pcap-net_raw pcap pcap 8080 net_raw unlimited
if since 5 8; then
	captures cgroup cgroup cgroup 8080
	captures cgroup-one-end cgroup:/sys/fs/cgroup/service cgroup 8081
	captures socket socket socket 8080
	captures auto auto cgroup 8080
	captures cgroup-bpf,net_admin cgroup cgroup 8080 bpf,net_admin unlimited
	captures cgroup-bpf,net_admin,perfmon cgroup cgroup 8080 bpf,net_admin,perfmon unlimited
	captures socket-bpf,net_raw socket socket 8080 bpf,net_raw unlimited
	refuses cgroup-net_admin CAP_BPF cgroup net_admin unlimited
	refuses cgroup-bpf CAP_NET_ADMIN cgroup bpf unlimited
	# Rings are charged to the lock limit before 5.11, to the memory cgroup from then on.
	if since 5 11; then
		captures memlock-64KiB cgroup cgroup 8080 bpf,net_admin 65536
	else
		refuses memlock-64KiB memlock cgroup bpf,net_admin 65536
	fi
else
	captures auto auto pcap 8080
	says auto 5.8
	refuses cgroup '5\.8' cgroup
	refuses socket '5\.8' socket
fi
echo "VERDICT"
reboot -f
