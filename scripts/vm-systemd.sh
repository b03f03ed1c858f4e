#!/usr/bin/env bash
# Gets systemd-modules-load and systemd-sysctl, which read the boot files, and the
# library that they share. They are unpacked from Debian's packages, which are not
# installed, into DIR. If this script has completed DIR before, it does nothing.
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
	[ -x "$dir/usr/lib/systemd/$program" ] || die "the package has no $program"
done
rm -rf "$dir/download" "$dir/package"
cp "$0" "$dir/made-by"
