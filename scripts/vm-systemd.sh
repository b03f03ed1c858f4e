#!/usr/bin/env bash
# Gets systemd, systemctl, systemd-modules-load and systemd-sysctl, which read the boot
# files, their libraries, and the units of a start. They are unpacked from Debian's packages,
# which are not installed, into DIR. If this script has completed DIR before, it does nothing.
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
	for file in "$from"/systemd/systemd{,-executor,-modules-load,-sysctl} "$from"/*-linux-gnu/systemd/libsystemd-{shared,core}-*.so; do
		[ -e "$file" ] || continue
		to=$dir/usr/lib/${file#"$from"/}
		mkdir -p "${to%/*}"
		cp "$file" "$to"
	done
	for unit in {basic,sysinit,local-fs,local-fs-pre,swap,network-pre,network,sockets,timers,paths,slices,multi-user,shutdown,umount,final,emergency,rescue}.target \
		systemd-{modules-load,sysctl}.service; do
		[ -e "$from/systemd/system/$unit" ] || continue
		mkdir -p "$dir/usr/lib/systemd/system"
		cp "$from/systemd/system/$unit" "$dir/usr/lib/systemd/system/"
	done
done
mkdir -p "$dir/usr/bin"
cp "$dir"/package/bin/systemctl "$dir/usr/bin/" 2>/dev/null || cp "$dir"/package/usr/bin/systemctl "$dir/usr/bin/"
for program in systemd systemd-modules-load systemd-sysctl; do
	[ -x "$dir/usr/lib/systemd/$program" ] || die "the package has no $program"
done
rm -rf "$dir/download" "$dir/package"
cp "$0" "$dir/made-by"
