#!/usr/bin/env bash
# Copies the programs that the cases run, with their libraries, into DIR.
#
# usage: vm-tools.sh DIR
set -euo pipefail
dir=$1
PATH=$PATH:/usr/sbin:/sbin

programs=(
	dash cat chmod cmp cp cut diff dmesg dd echo false grep head kill ln ls mkdir mkfifo mount mv od ps readlink rm rmdir sed seq
	sleep sort stat sync tail timeout touch tr true uname uniq umount wc
	ip nft xtables-nft-multi xtables-legacy-multi conntrack ipset kmod sysctl
)

rm -rf "$dir"
mkdir -p "$dir"/usr/{bin,lib,lib64}
ln -s bin "$dir/usr/sbin"
for merged in bin sbin lib lib64; do
	ln -s "usr/$merged" "$dir/$merged"
done
for program in "${programs[@]}"; do
	path=$(type -P "$program") || { echo "cannot find $program, which the VM set needs" >&2; exit 1; }
	cp -L "$path" "$dir/usr/bin/$program"
	ldd "$path" 2>/dev/null | grep -o '/[^ ]*' || true
done | sort -u | while read -r library; do
	mkdir -p "$dir${library%/*}"
	cp -L "$library" "$dir$library"
done
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
