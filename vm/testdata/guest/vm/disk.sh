# The disk, which is the same at each boot of a case: sourced by init and by the cases.

# mount_disk N: mounts the disk, 0, or its Nth copy, and binds the directories on it
# to their places.
mount_disk() {
	mount -t ext4 "$(device "disk$1")" /disk || return 1
	for dir in etc/modprobe.d etc/modules-load.d etc/sysctl.d var/lib/nfsync; do
		mkdir -p /$dir /disk/$dir
		mount --bind /disk/$dir /$dir
	done
}

# device SERIAL: prints the device with this serial number.
device() {
	for dir in /sys/block/vd*; do
		read -r serial <$dir/serial || true # it has no newline
		[ "$serial" != "$1" ] || echo "/dev/${dir##*/}"
	done
}

# unmount_disk undoes mount_disk.
unmount_disk() {
	for dir in /etc/modprobe.d /etc/modules-load.d /etc/sysctl.d /var/lib/nfsync; do umount $dir; done
	umount /disk
}

# read_boot_files runs systemd's programs for boot files, in their order at a start:
# systemd-sysctl.service is after systemd-modules-load.service. If one fails, the
# start goes on.
read_boot_files() {
	for program in modules-load sysctl; do
		SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_COLOR=0 /usr/lib/systemd/systemd-$program || echo "systemd-$program: exit $?"
	done
}
