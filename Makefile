# make demo     builds nfsync and runs its demo on the real kernel, in its own namespaces
# make test     installs the programs that the tests need (apt, only missing ones), vets, runs all tests
# make test-vm  boots kernels that load modules, and runs nfsync on them (minutes; needs qemu, no KVM)
# make test-all runs test, lint and test-vm
# make lint     runs gofmt, go vet and golangci-lint
# make build    builds bin/nfsync

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  = -s -w -X main.version=$(VERSION)
FUZZTIME ?= 10s

.DEFAULT_GOAL := build
.PHONY: build demo test test-vm test-all lint clean

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/nfsync ./cmd/nfsync

demo: build
	@bin/nfsync demo

test:
	scripts/deps.sh
	go vet ./...
	go test ./...
	CGO_ENABLED=1 go test -race ./internal/host -run '^TestTwoCallers$$'
	CGO_ENABLED=1 go test -race ./internal/web -run '^TestScrapeDuringLap$$'
	go test ./internal/spec -run '^$$' -fuzz '^FuzzParse$$' -fuzztime $(FUZZTIME)

test-vm:
	scripts/vm-deps.sh
	go vet -tags vm ./vm ./vm/testdata/pkt ./vm/testdata/steps ./vm/testdata/entries
	go test -tags vm -count=1 -timeout 45m ./vm $(VMFLAGS)

test-all: test lint test-vm

lint:
	scripts/lint.sh

clean:
	rm -rf bin .cache
