# Starts systemd as process 1 of the namespaces that this shell is in. Its directory has the node's
# layer: see systemdtest.go. LAYERS are those below it.
#
# usage: sh start.sh DIR
set -eu
dir=$1
root=$dir/root

mount --make-rprivate /
lower=/
if [ -n "$LAYERS" ]; then
	# The layers are in the tree of this machine's files, and an overlay takes no two of one tree.
	mount -t overlay machine -o "lowerdir=$dir/empty:/" "$dir/machine"
	lower=$LAYERS:$dir/machine
fi
mount -t overlay node -o "lowerdir=$lower,upperdir=$dir/upper,workdir=$dir/work" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 run "$root/run"
mount -t tmpfs tmp "$root/tmp"

mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null zero full random urandom tty; do
	: >"$root/dev/$device"
	mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/net"
mknod -m 666 "$root/dev/fuse" c 10 229
mknod -m 666 "$root/dev/net/tun" c 10 200

# What does not belong to network namespaces is this machine's: it is read-only.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
mount -o remount,bind,ro "$root/proc/sys"
if [ -e "$dir/boot_id" ]; then
	mount --bind "$dir/boot_id" "$root/proc/sys/kernel/random/boot_id"
fi

mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"

# In a chroot nobody may make a user namespace.
cd "$root"
pivot_root . .
umount -l .
exec env -i container=systemdtest PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . /lib/systemd/systemd --unit=multi-user.target
