#!/usr/bin/env bash
# Installs the programs that make bench measures, with apt, if they are missing.
#
# usage: bench-deps.sh [PROGRAM:PACKAGE ...]      more programs to install
set -euo pipefail

# program:package
needs=(ip:iproute2 nsenter:util-linux sysctl:procps git:git "$@")

PATH=$PATH:/usr/sbin:/sbin
packages=()
for need in "${needs[@]}"; do
	if ! command -v "${need%%:*}" >/dev/null; then
		packages+=("${need#*:}")
	fi
done
[ ${#packages[@]} -eq 0 ] && exit 0

echo "bench needs these packages: ${packages[*]}"
if [ "$(id -u)" != 0 ]; then
	echo "cannot install them without root: run 'sudo apt-get install ${packages[*]}' and try again" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends "${packages[@]}"
