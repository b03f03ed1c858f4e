# make demo   builds nfsync and shows it at work on the real kernel, in namespaces of its own
# make test   installs what the tests need (apt, only what is missing), then vets and runs them all
# make test-vm  boots kernels that load modules, and runs nfsync on them (minutes; needs qemu, no KVM)
# make lint   gofmt, go vet and golangci-lint
# make build  bin/nfsync

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
	go test ./internal/spec -run '^$$' -fuzz '^FuzzParse$$' -fuzztime $(FUZZTIME)

test-vm:
	scripts/vm-deps.sh
	go vet -tags vm ./vm ./vm/testdata/pkt ./vm/testdata/steps ./vm/testdata/told
	go test -tags vm -count=1 -timeout 30m ./vm $(VMFLAGS)

test-all: test lint test-vm

lint:
	scripts/lint.sh

clean:
	rm -rf bin .cache
