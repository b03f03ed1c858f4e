#!/usr/bin/env bash
# Installs the programs that the tests and make bench run, with apt, if they are missing. The tests
# make tables, sets and namespaces with them, which nfsync reads, and repositories,
# which it fetches; promtool and Prometheus check its metrics and alerts, and chromium opens its pages; mandoc and groff
# read its manual pages, and the shells complete its words; dpkg and rpm install its packages, and qemu runs the
# program for arm64.
#
# usage: deps.sh [PROGRAM:PACKAGE ...]      more programs to install
set -euo pipefail

# program or file:package
needs=(ip:iproute2 nft:nftables iptables:iptables ip6tables-legacy:iptables conntrack:conntrack ipset:ipset
	modprobe:kmod systemctl:systemd gcc:build-essential git:git sshd:openssh-server ssh-keygen:openssh-client gpg:gnupg promtool:prometheus
	chromium:chromium sysctl:procps nsenter:util-linux curl:curl jq:jq pre-commit:pre-commit mandoc:mandoc
	groff:groff-base zsh:zsh fish:fish /usr/share/bash-completion/bash_completion:bash-completion
	man:man-db dpkg-deb:dpkg rpm:rpm shellcheck:shellcheck qemu-aarch64:qemu-user "$@")

PATH=$PATH:/usr/sbin:/sbin
packages=()
for need in "${needs[@]}"; do
	if ! command -v "${need%%:*}" >/dev/null && [ ! -e "${need%%:*}" ]; then
		packages+=("${need#*:}")
	fi
done
[ ${#packages[@]} -eq 0 ] && exit 0

echo "the tests need these packages: ${packages[*]}"
if [ "$(id -u)" != 0 ]; then
	echo "cannot install them without root: run 'sudo apt-get install ${packages[*]}' and try again" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q

# The tests start their own servers. Installing sshd or Prometheus must not start one on this
# machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
	trap 'rm -f "$policy"' EXIT
fi
apt-get install -q -y --no-install-recommends "${packages[@]}"
case " ${packages[*]} " in
*" openssh-server "*) systemctl disable --quiet ssh.service ssh.socket 2>/dev/null || true ;;
esac
case " ${packages[*]} " in
*" prometheus "*) systemctl disable --quiet prometheus.service prometheus-node-exporter.service 2>/dev/null || true ;;
esac
