#!/usr/bin/env bash
# Runs gofmt, go vet and golangci-lint. The linter is built once, in a fixed version,
# in .cache/bin, so that go.mod does not contain its dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."

version=v2.15.0
lint=$PWD/.cache/bin/golangci-lint-$version

unformatted=$(gofmt -l bench cmd internal examples packaging schemas vm)
if [ -n "$unformatted" ]; then
	echo "not formatted by gofmt:" >&2
	echo "$unformatted" >&2
	exit 1
fi
go vet ./...
go vet -tags soak ./cmd/nfsync # its test runs with make soak alone
if [ ! -x "$lint" ]; then
	echo "building golangci-lint $version (once)"
	mkdir -p .cache/bin
	GOBIN=$PWD/.cache/bin go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$version"
	mv .cache/bin/golangci-lint "$lint"
fi
GOLANGCI_LINT_CACHE=$PWD/.cache/lint "$lint" run ./...
