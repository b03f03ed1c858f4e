#!/usr/bin/env bash
# Copies the programs that the cases run, with their libraries, into DIR: the programs
# of this machine, and those that vm-systemd.sh has put into SYSTEMD.
#
# usage: vm-tools.sh DIR SYSTEMD
set -euo pipefail
dir=$1 systemd=$2
PATH=$PATH:/usr/sbin:/sbin

programs=(
	dash cat chmod cmp cp cut diff dmesg dd echo false grep head kill ln ls mkdir mkfifo mount mv od ps readlink rm rmdir sed seq
	sleep sort stat stty sync tail timeout touch tr true uname uniq umount wc
	ip nft xtables-nft-multi xtables-legacy-multi conntrack ipset kmod sysctl
)

rm -rf "$dir"
mkdir -p "$dir"/usr/{bin,lib,lib64}
dir=$(realpath "$dir")
ln -s bin "$dir/usr/sbin"
for merged in bin sbin lib lib64; do
	ln -s "usr/$merged" "$dir/$merged"
done
cp -r "$systemd"/usr "$dir"
for program in "${programs[@]}"; do
	path=$(type -P "$program") || { echo "cannot find $program, which the VM set needs" >&2; exit 1; }
	cp -L "$path" "$dir/usr/bin/$program"
done

# libraries prints the libraries of the programs, with their paths on this machine.
libraries() {
	for program in "$dir"/usr/bin/* "$dir"/usr/lib/systemd/*; do
		ldd "$program" 2>/dev/null || true # a static program
	done
}
export LD_LIBRARY_PATH
LD_LIBRARY_PATH=$(echo "$dir"/usr/lib/*-linux-gnu/systemd)
libraries >"$dir/libraries"
if grep 'not found' "$dir/libraries" >&2; then
	echo "the programs of the VM set need libraries that this machine does not have" >&2
	exit 1
fi
grep -o '/[^ ]*' "$dir/libraries" | sort -u | while read -r library; do
	case $library in "$dir"/*) continue ;; esac
	mkdir -p "$dir${library%/*}"
	cp -L "$library" "$dir$library"
done
rm "$dir/libraries"
mkdir -p "$dir/usr/lib/x86_64-linux-gnu"
cp -r /usr/lib/x86_64-linux-gnu/xtables "$dir/usr/lib/x86_64-linux-gnu/"

ln -s dash "$dir/usr/bin/sh"
for name in modprobe lsmod rmmod insmod depmod modinfo; do
	ln -s kmod "$dir/usr/bin/$name"
done
for name in iptables ip6tables; do
	ln -s xtables-nft-multi "$dir/usr/bin/$name"
	ln -s xtables-nft-multi "$dir/usr/bin/$name-nft"
	ln -s xtables-legacy-multi "$dir/usr/bin/$name-legacy"
done
