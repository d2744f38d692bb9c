#!/usr/bin/env bash
# Fetches kernels through apt, installs nothing. Kept between runs: remove DEST/SERIES to fetch a newer one.
# usage: tests/kernels/getk.sh DEST SERIES...	SERIES: 5.10, 6.1 ..., or "newest"
# Leaves DEST/SERIES/{vmlinuz,version}; says on stderr what it took, or why a series is missing (then exit 1).
# The mirror is that of this system's own apt sources; UBUNTU_MIRROR names one that carries Ubuntu
# when the Debian mirror does not (its /ubuntu is tried).
set -uo pipefail
dest=${1:?usage: getk.sh DEST SERIES...}
shift
mkdir -p "$dest"
dest=$(cd "$dest" && pwd)

missing=()
for series; do
	[ -s "$dest/$series/vmlinuz" ] && [ -s "$dest/$series/version" ] || missing+=("$series")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(dpkg --print-architecture 2>/dev/null)" != amd64 ]; then
	echo "getk: kernels are fetched on Debian amd64 only" >&2
	exit 1
fi

work=$(mktemp -d "$dest/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
cat >"$work/apt.conf" <<-END
	Dir::Etc::sourcelist "$work/sources.list";
	Dir::Etc::sourceparts "-";
	Dir::State::lists "$work/lists";
	Dir::Cache "$work/cache";
	APT::Sandbox::User "root";
	Acquire::Languages "none";
	Acquire::Retries "2";
	Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
END

# REPO_URI of each of the system's sources: .list and deb822 alike
# shellcheck disable=SC2016
uris=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | sed 's,/*$,,' | sort -u)
debian=$(grep -m1 '/debian$' <<<"$uris" || true)
security=$(grep -m1 '/debian-security$' <<<"$uris" || true)
ubuntu=${UBUNTU_MIRROR:-$(grep -m1 '/ubuntu$' <<<"$uris" || true)}
if [ -z "$debian" ]; then
	echo "getk: no Debian mirror in this system's apt sources" >&2
	exit 1
fi
: "${security:=$debian-security}" "${ubuntu:=${debian%/debian}/ubuntu}"

export APT_CONFIG=$work/apt.conf

# A suite that the mirror lacks is no failure: what it would bring is then missing, and said.
update() {
	apt-get update -qq >"$work/update.log" 2>&1 || true
	apt-cache pkgnames linux- | sort -u >"$work/names"
}

for release in bullseye bookworm trixie; do
	echo "deb $debian $release main"
	echo "deb $security $release-security main"
	[ $release = bullseye ] || echo "deb $debian $release-backports main"
done >"$work/sources.list"
update

# versions SERIES: package names without their prefix, the newest first; Debian's cloud kernels are
# the smallest. From 6.19 on linux-binary-* holds what linux-image-* held.
versions() {
	local re='[0-9]+\.[0-9]+'
	[ "$1" = newest ] || re=${1//./\\.}
	sed -nE "s/^linux-(image|binary)-($re\.[0-9].*-(cloud-amd64|generic))$/\2/p" "$work/names" | sort -ruV
}

# unpack PACKAGE SERIES
unpack() {
	local out=$work/out vmlinuz
	rm -rf "$out"
	mkdir -p "$out/x" "$dest/$2"
	(cd "$out" && apt-get download -qq "$1") >>"$work/download.log" 2>&1 || return 1
	dpkg-deb -x "$out"/*.deb "$out/x" || return 1
	vmlinuz=$(find "$out/x" -type f -name 'vmlinuz*' | head -1)
	[ -n "$vmlinuz" ] || return 1
	install -m 644 "$vmlinuz" "$dest/$2/vmlinuz"
	# shellcheck disable=SC2016
	dpkg-deb -W --showformat='${Package} ${Version}\n' "$out"/*.deb >"$dest/$2/version"
	echo "getk: $2: $(cat "$dest/$2/version")" >&2
}

# An old ABI may stay listed when its file has gone: three are tried.
fetch() {
	local version kind
	for version in $(versions "$1" | head -3); do
		for kind in binary image image-unsigned; do
			grep -qxF "linux-$kind-$version" "$work/names" && unpack "linux-$kind-$version" "$1" && return 0
		done
	done
	return 1
}

# Ubuntu's packages are signed by keys that Debian packages.
with_ubuntu() {
	local suite key
	mkdir -p "$work/keys"
	(cd "$work/keys" && apt-get download -qq ubuntu-keyring && dpkg-deb -x ./*.deb .) >>"$work/download.log" 2>&1
	key=$(find "$work/keys" -name ubuntu-archive-keyring.gpg | head -1)
	[ -n "$key" ] || return 1
	for suite in focal jammy noble; do
		echo "deb [signed-by=$key] $ubuntu $suite-updates main"
	done >>"$work/sources.list"
	update
}

rc=0 tried=
for series in "${missing[@]}"; do
	fetch "$series" && continue
	if [ -z "$tried" ]; then
		tried=1
		with_ubuntu || echo "getk: no ubuntu-keyring package" >&2
		fetch "$series" && continue
	fi
	echo "getk: $series: no such kernel on the mirror" >&2
	rc=1
done
[ $rc -eq 0 ] || sed 's/^/getk: apt: /' "$work/update.log" >&2
exit $rc
