#!/usr/bin/env bash
# Installs the programs that the VM set runs on this machine or copies into its
# virtual machines, with apt, if they are missing.
set -euo pipefail
cd "$(dirname "$0")"

exec ./deps.sh qemu-system-x86_64:qemu-system-x86 depmod:kmod mke2fs:e2fsprogs xz:xz-utils zstd:zstd
