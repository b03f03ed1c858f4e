#!/usr/bin/env bash
# Gets the newest Debian cloud kernel of a series. In DIR it writes vmlinuz, and below
# root/ the modules of netfilter and of the virtual machine's disks and networks, with
# the modules that they need. root/extra has one module in all compressions. The kernel
# is unpacked from Debian's package, which is not installed. If this script has
# completed DIR before, it does nothing.
#
# usage: vm-kernel.sh SERIES DIR      (SERIES: 6.1, say)
set -euo pipefail
series=$1 dir=$2

die() {
	echo "cannot get a Linux $series for the VM set: $*" >&2
	exit 1
}

# packages prints the kernels of the series that apt knows, the newest last.
packages() {
	apt-cache search --names-only "^linux-image-${series//./\\.}\.[0-9].*-cloud-amd64\$" | cut -d' ' -f1 | sort -V
}

cmp -s "$0" "$dir/made-by" && exit 0
[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || die "this machine is not a Debian for amd64"
package=$(packages | tail -n 1)
if [ -z "$package" ]; then
	apt-get update -q >&2
	package=$(packages | tail -n 1)
fi
[ -n "$package" ] || die "apt knows no linux-image-$series.*-cloud-amd64"

rm -rf "$dir"
mkdir -p "$dir/download"
(cd "$dir/download" && apt-get download -q -o APT::Sandbox::User=root "$package" >&2) || die "apt-get download $package failed"
mkdir "$dir/package"
dpkg -x "$dir"/download/*.deb "$dir/package"

boot=("$dir"/package/boot/vmlinuz-*)
release=${boot[0]##*/vmlinuz-}
from=$(echo "$dir"/package/{usr/,}lib/modules/"$release")
for from in "$dir"/package/{usr/,}lib/modules/"$release"; do [ -d "$from" ] && break; done
to=$dir/root/usr/lib/modules/$release
mkdir -p "$to" "$dir/root/extra"
cp "${boot[0]}" "$dir/vmlinuz"
cp "$from"/modules.{builtin,builtin.modinfo,order} "$to"

# modules.dep lists for each module all modules that it needs.
depmod -b "${from%/lib/modules/*}" "$release"
wanted='^kernel/(net/(netfilter|ipv4/netfilter|ipv6/netfilter|bridge)/|drivers/(net/(dummy|veth)|block/virtio_blk|virtio/virtio_pci)\.ko)'
awk -F: -v wanted="$wanted" '$1 ~ wanted { print $1 $2 }' "$from/modules.dep" | tr ' ' '\n' | sort -u |
	tar -C "$from" -cf - -T - | tar -C "$to" -xf -
ln -s usr/lib "$dir/root/lib"
depmod -b "$dir/root" "$release"

dummy=$(echo "$to"/kernel/drivers/net/dummy.ko*)
plain=$dir/root/extra/dummy.ko
case $dummy in
*.xz) xz -dc "$dummy" >"$plain" ;;
*.zst) zstd -q -dc "$dummy" >"$plain" ;;
*) cp "$dummy" "$plain" ;;
esac
gzip -nc "$plain" >"$plain.gz"
zstd -q "$plain" -o "$plain.zst"
xz --check=crc32 -kc "$plain" >"$plain.xz"         # the kernel can decompress it
xz --check=crc64 -kc "$plain" >"${plain%.ko}-crc64.ko.xz" # the kernel cannot
# A signed module ends with the signature, its length, and a mark of 28 bytes. Without
# the mark the kernel takes it as unsigned.
head -c -28 "$plain" >"$dir/root/extra/unsigned.ko"

rm -rf "$dir/download" "$dir/package"
cp "$0" "$dir/made-by"
