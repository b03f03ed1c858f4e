#!/usr/bin/env bash
# Puts what systemd does with boot files, systemd-modules-load and
# systemd-sysctl, and the library that they share into DIR. They come from
# Debian's packages, which are unpacked and never installed. A DIR that
# this script has completed is left as it is.
#
# usage: vm-systemd.sh DIR
set -euo pipefail
dir=$1

die() {
	echo "cannot get systemd for the VM set: $*" >&2
	exit 1
}

cmp -s "$0" "$dir/made-by" && exit 0
rm -rf "$dir"
mkdir -p "$dir/download" "$dir/package"
download() { (cd "$dir/download" && apt-get download -q -o APT::Sandbox::User=root systemd libsystemd-shared >&2); }
download || { apt-get update -q >&2 && download; } || die "apt-get download failed"
for package in "$dir"/download/*.deb; do
	dpkg -x "$package" "$dir/package"
done
for from in "$dir"/package/lib "$dir"/package/usr/lib; do
	for file in "$from"/systemd/systemd-{modules-load,sysctl} "$from"/*-linux-gnu/systemd/libsystemd-shared-*.so; do
		[ -e "$file" ] || continue
		to=$dir/usr/lib/${file#"$from"/}
		mkdir -p "${to%/*}"
		cp "$file" "$to"
	done
done
for program in systemd-modules-load systemd-sysctl; do
	[ -x "$dir/usr/lib/systemd/$program" ] || die "its package has no $program"
done
rm -rf "$dir/download" "$dir/package"
cp "$0" "$dir/made-by"
