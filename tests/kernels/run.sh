#!/usr/bin/env bash
# Boots other kernels under QEMU (no KVM needed) and captures there, with every back end, transfers whose bytes are known.
# usage: tests/kernels/run.sh BUILD [SERIES...]
# Kernels are kept in BUILD/cache/kernels, each guest's console in BUILD/kernels/SERIES.log.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=${1:?usage: run.sh BUILD [SERIES...]}
shift
[ $# -gt 0 ] || set -- 5.4 5.8 5.10 5.15 6.1 6.8 6.12 newest
cache=$build/cache/kernels out=$build/kernels
seconds=600 # a guest takes 60 to 100 s on two idle cores

if [ ! -x "$build/sidetap" ]; then
	echo "not ok kernels: there is no $build/sidetap"
	exit 1
fi
mkdir -p "$cache" "$out"

packages=()
for need in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static cpio:cpio strip:binutils dpkg-deb:dpkg; do
	command -v "${need%%:*}" >/dev/null || packages+=("${need#*:}")
done
ldd "$(command -v busybox)" >/dev/null 2>&1 && packages+=(busybox-static)
if [ ${#packages[@]} -gt 0 ]; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "SKIP kernels: missing, and only root can install them: ${packages[*]}"
		exit 0
	fi
	if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
		--no-install-recommends "${packages[@]}"; } >"$out/apt.log" 2>&1; then
		echo "SKIP kernels: cannot install ${packages[*]}: $(grep '^E:' "$out/apt.log" | head -1)"
		exit 0
	fi
fi

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# The program with the libraries it loads at their own paths, helpers and busybox: an initramfs.
initramfs() {
	local cc=${CC:-gcc} flags=(-O2 -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -static) lib
	mkdir -p "$root"/{bin,dev,proc,sys,tmp}
	"$cc" "${flags[@]}" -o "$root/bin/transfer" "$here/transfer.c" -ljansson || return 1
	"$cc" "${flags[@]}" -o "$root/bin/privileges" "$here/privileges.c" || return 1
	cp "$(command -v busybox)" "$root/bin/busybox"
	ln -s busybox "$root/bin/sh"
	install -m 755 "$here/init.sh" "$root/init"
	strip -o "$root/sidetap" "$build/sidetap" || return 1
	for lib in $(ldd "$build/sidetap" | grep -oE '/[^ ]+'); do
		mkdir -p "$root${lib%/*}"
		strip -o "$root$lib" "$lib" || return 1
	done
	chmod -R a+rX "$root" # mktemp made it 700, and the guest's captures are not root
	(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) >"$out/initramfs"
}

# -cx16: emulated cmpxchg16b made guests die in kmem_cache_alloc; -la57: it is slow.
boot() { # SERIES
	timeout -k 5 $seconds nice -n 10 qemu-system-x86_64 -M pc -accel tcg,thread=multi -cpu max,-cx16,-la57 \
		-smp 2 -m 768 -nodefaults -no-user-config -display none -monitor none -serial stdio -no-reboot \
		-kernel "$cache/$1/vmlinuz" -initrd "$out/initramfs" \
		-append "console=ttyS0 quiet loglevel=3 panic=-1 reboot=t mitigations=off nokaslr tsc=reliable cgroup_no_v1=all rdinit=/init" \
		</dev/null 2>&1 | tr -d '\r' >"$out/$1.log"
}

# A guest that never came to its end is booted once more (the emulator's fault); a failure never.
judge() { # SERIES
	local start=$SECONDS
	boot "$1"
	grep -qx VERDICT "$out/$1.log" || boot "$1"
	sed -nE "s/^RESULT (ok|not ok) /\1 $1-/p" "$out/$1.log"
	if ! grep -qx VERDICT "$out/$1.log"; then
		echo "not ok $1: the guest did not come to its end"
		tail -n 20 "$out/$1.log" | sed 's/^/# /'
	fi
	grep -qE '^RESULT not ok' "$out/$1.log" && sed -n 's/^| /# /p' "$out/$1.log"
	echo "# $1: $(cat "$cache/$1/version"), $((SECONDS - start)) s"
	grep -qx VERDICT "$out/$1.log" && ! grep -qE '^RESULT not ok' "$out/$1.log"
}

"$here/getk.sh" "$cache" "$@" 2>"$out/getk.log"
sed 's/^/# /' "$out/getk.log"
if ! initramfs; then
	echo "not ok kernels: no initramfs"
	exit 1
fi
rc=0
for series; do
	if [ -s "$cache/$series/vmlinuz" ]; then
		judge "$series" || rc=1
	else
		echo "SKIP $series: $(grep -E "^getk: $series: |^getk: (no|kernels)" "$out/getk.log" | head -1)"
	fi
done
exit $rc
