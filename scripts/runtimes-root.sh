#!/usr/bin/env bash
# Prints a directory with Debian's container runtimes, for the tests of real containers. Below layer/
# are the files that their packages add to this machine, as an upper layer of overlayfs: nothing is
# installed here. image.tar has the root file system of a container: busybox, and a link for each of
# its programs. If this script has completed the directory before, it only prints it. Several may run
# at once.
#
# usage: runtimes-root.sh
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

packages=(
	docker.io podman runc crun conmon netavark containernetworking-plugins catatonit uidmap slirp4netns
	lxc containerd systemd-container busybox-static jq dbus dbus-user-session libpam-systemd iproute2 iptables nftables
)

# unpack installs the packages above this machine's files. It runs in namespaces of its own: no daemon
# that a package may start, no mount and no socket of this machine is reached.
unpack() {
	local dir=$1 work=$1/tmpfs
	shift
	# Both layers of an overlay may not be in one tree, so the upper one is made in memory.
	mount -t tmpfs -o mode=755 tmpfs "$work"
	mkdir "$work"/{upper,work,root}
	mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$work/root"
	mount -t proc proc "$work/root/proc"
	mount --rbind /dev "$work/root/dev"
	mount -t tmpfs -o mode=755 run "$work/root/run"
	mount -t tmpfs tmp "$work/root/tmp"
	cp --remove-destination -L /etc/resolv.conf "$work/root/etc/resolv.conf"
	mkdir -p "$work/root/usr/sbin"
	printf '#!/bin/sh\nexit 101\n' >"$work/root/usr/sbin/policy-rc.d"
	chmod 755 "$work/root/usr/sbin/policy-rc.d"

	local apt=(env DEBIAN_FRONTEND=noninteractive chroot "$work/root" apt-get -q -y -o APT::Sandbox::User=root)
	"${apt[@]}" install --no-install-recommends "$@" || { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "$@"; }

	mkdir "$dir/image" "$dir/image"/{bin,dev,etc,proc,root,run,sys,tmp}
	cp "$work/root/bin/busybox" "$dir/image/bin"
	chroot "$dir/image" /bin/busybox --install -s /bin
	echo 'root:x:0:0:root:/root:/bin/sh' >"$dir/image/etc/passwd"
	echo 'root:x:0:' >"$dir/image/etc/group"
	tar -C "$dir/image" --sort=name -cf "$dir/image.tar" .

	umount -R "$work/root"
	rm -rf "$work/upper"/{dev,proc,run,sys,tmp,etc/resolv.conf,etc/machine-id,etc/mtab,root,usr/sbin/policy-rc.d} \
		"$work/upper"/var/{cache,lib/apt,lib/docker,lib/containerd,log} "$work/upper"/usr/share/{doc,man,info,locale,bug,lintian}
	cp -a "$work/upper" "$dir/layer"
	umount "$work"
	rmdir "$work"
	rm -r "$dir/image"
}

if [ "${1-}" = --unpack ]; then
	unpack "${@:2}"
	exit
fi

if [ "$(id -u)" != 0 ]; then
	echo "cannot install container runtimes without root" >&2
	exit 1
fi
version=$({ cat scripts/runtimes-root.sh /etc/debian_version; dpkg --print-architecture; } | sha256sum | cut -c 1-12)
dir=$PWD/.cache/runtimes-$version
if [ ! -d "$dir" ]; then
	mkdir -p .cache
	exec 9>.cache/runtimes.lock
	flock 9
fi
if [ ! -d "$dir" ]; then # nor has another run made it meanwhile
	echo "installing container runtimes in $dir (once)" >&2
	log=.cache/runtimes.log
	rm -rf "$dir.part"
	mkdir -p "$dir.part/tmpfs"
	if ! unshare --mount --pid --fork --kill-child --ipc --uts bash scripts/runtimes-root.sh --unpack "$dir.part" "${packages[@]}" >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		exit 1
	fi
	mv "$dir.part" "$dir"
fi
echo "$dir"
