#!/usr/bin/env bash
# Installs what the VM set runs on this machine and puts into its machines, by
# apt and only what is missing.
set -euo pipefail
cd "$(dirname "$0")"

exec ./deps.sh qemu-system-x86_64:qemu-system-x86 depmod:kmod mke2fs:e2fsprogs xz:xz-utils zstd:zstd
