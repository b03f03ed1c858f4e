#!/usr/bin/env bash
# Prints where nfpm is, which makes packages. It is built once, in a fixed version, in
# .cache/bin, so that go.mod does not contain its dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."

version=v2.48.0
nfpm=$PWD/.cache/bin/nfpm-$version
if [ ! -x "$nfpm" ]; then
	echo "building nfpm $version (once)" >&2
	mkdir -p .cache/bin
	GOFLAGS='' GOBIN=$PWD/.cache/bin go install "github.com/goreleaser/nfpm/v2/cmd/nfpm@$version"
	mv .cache/bin/nfpm "$nfpm"
fi
echo "$nfpm"
