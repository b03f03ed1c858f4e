# The disk that outlives the machine: sourced by init and by the cases.

# use N: mounts the disk, 0, or the Nth copy of it, and from it what must outlive
# the machine.
use() {
	mount -t ext4 "$(device "disk$1")" /disk || return 1
	for dir in etc/modprobe.d etc/modules-load.d etc/sysctl.d var/lib/nfsync; do
		mkdir -p /$dir /disk/$dir
		mount --bind /disk/$dir /$dir
	done
}

# device SERIAL: the disk that has it.
device() {
	for dir in /sys/block/vd*; do
		read -r serial <$dir/serial || true # without a newline
		[ "$serial" != "$1" ] || echo "/dev/${dir##*/}"
	done
}

# unuse takes the disk away again.
unuse() {
	for dir in /etc/modprobe.d /etc/modules-load.d /etc/sysctl.d /var/lib/nfsync; do umount $dir; done
	umount /disk
}

# systemd does with the boot files what systemd does when a machine starts:
# systemd-sysctl.service is after systemd-modules-load.service. Neither fails
# the start.
systemd() {
	for program in modules-load sysctl; do
		SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_COLOR=0 /usr/lib/systemd/systemd-$program || echo "systemd-$program: exit $?"
	done
}
