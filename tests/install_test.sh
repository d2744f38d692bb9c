#!/usr/bin/env bash
# make install honours PREFIX and DESTDIR; an incremental build notices a changed header.
set -uo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail=0
check() { # NAME COMMAND...
	local name=$1
	shift
	if "$@" >/dev/null 2>&1; then echo "ok $name"; else echo "not ok $name"; fail=1; fi
}
make -s install DESTDIR="$dir" PREFIX=/opt/sidetap >/dev/null 2>&1
check install-program "$dir/opt/sidetap/bin/sidetap" --version
check install-descriptor test -s "$dir/opt/sidetap/share/sidetap/record.desc"
check install-example-is-valid "$dir/opt/sidetap/bin/sidetap" capture --check -c "$dir/opt/sidetap/share/sidetap/sidetap.yaml"
check incremental-header-dependency bash -c "make V=1 -n -W sink/record.h all | grep -q 'sink/record\.o'"
make -s all >/dev/null 2>&1 # not -n: a dry run cannot know that the version is the same
check incremental-nothing-to-do bash -c "! make V=1 all | grep -qE ' -c '"
exit $fail
