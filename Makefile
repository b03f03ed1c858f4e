# make demo     builds nfsync and runs its demo on the real kernel, in its own namespaces
# make test     installs the programs that the tests need (apt, only missing ones), vets, runs the tests that are quick
# make test-slow runs the tests that make test leaves out because they take long, the race detector and the fuzzer
# make test-packages makes releases, installs them on nodes with systemd, and follows docs/guide.md there
# make test-runtimes runs nfsync beside real container runtimes, on nodes with systemd (needs root; apt the first time)
# make test-vm  boots kernels that load modules, and runs nfsync on them (minutes; needs qemu, no KVM)
# make soak     runs an agent on a busy node for SOAKTIME: it must take no more of the machine in the end
# make long     kills an agent 200 times, verifies 10,000 commits, and leads 1,000 agents through roll-outs
# make test-all runs test, test-slow, lint, long, two minutes of soak, test-packages, test-runtimes and test-vm
# make bench    measures nfsync beside what the same work takes otherwise, and writes docs/performance.md (20 minutes)
# make bench-quick measures less of it, and prints it (2 minutes)
# make screenshots makes the pictures of docs/images
# make lint     runs gofmt, go vet and golangci-lint
# make build    builds bin/nfsync and bin/nfsync-coordinator
# make release  makes archives, deb, rpm, SBOMs and checksums of both programs, for amd64 and arm64, in dist, the same bytes each time

VERSION ?= $(shell git describe --tags --match 'v[0-9]*' --always --abbrev=12 --dirty 2>/dev/null || echo devel)
LDFLAGS  = -s -w -X main.version=$(VERSION)
FUZZTIME ?= 10s
SOAKTIME ?= 1h

# SLOW are the tests that take long: kills at every step, damaged and hostile repositories, sizes, browsers. make test leaves
# them out, in every package, and make test-slow runs them in the packages that have them. TestScripts/NAME is the script NAME.txtar.
SLOW = \
	TestABadRevisionHalts TestAKilledCoordinatorGoesOn TestARealRepository TestARolloutReachesTheFleet \
	TestActionFails TestAgentFarBehind TestAgentFaults TestAgentKilled TestAgentKilledInItsTurn \
	TestAgentRecreatesClone TestAgentReloads TestAgentWithoutItsFleet TestConformanceOfRuntimes \
	TestCrashAnywhere TestCrashAroundRestarts TestCrashUnconfirmed TestDamage TestDamagedClone TestDeadlyClone \
	TestDiskAndCommit TestEncodings TestEveryVerbPrintsDocuments TestFastForward TestFight TestFleetRights \
	TestFleetScale TestFlippedBits TestGitLabFails TestGuard TestHTMLFilter TestHTMLHostile TestHTMLLarge \
	TestHostileHTTP TestHostileSSH TestImportSize TestInitGitHub TestKeyStates TestKilledServer TestLocalForms \
	TestManyAgents TestManyRules TestManyTables TestMemory TestModprobeConfLikeModprobe TestMonitoring TestNodeScale \
	TestOpenManyNodes TestPGPSignatures TestPageInBrowser TestPreCommit TestPublishFaults TestPublishKilled \
	TestRealFleet TestRewritten TestSSHSignatures TestScale TestScreenshots TestScripts/confirm \
	TestScripts/confirm_agent TestScripts/demo TestScripts/equal TestScripts/filling TestScripts/git_plan \
	TestScripts/import TestScripts/loop TestScripts/nodes TestScripts/publish TestScripts/shells \
	TestScripts/vz-killed TestScripts/vz-restart TestScripts/vz-tools TestServeOwnServers TestSimulation \
	TestSmallest TestSnapshotLarge TestTheLeaseIsTakenOver TestTheStoreIsAwayForAWhile TestThreeServers TestTree \
	TestTwoAtOnceAreSafe TestUpToAfterAndBefore
SLOW_PACKAGES = \
	./bench ./cmd/nfsync ./cmd/nfsync-coordinator ./internal/agent ./internal/agent/fleetscale ./internal/apply \
	./internal/coordinator ./internal/engine ./internal/host ./internal/kernel \
	./internal/rollout ./internal/source ./internal/spec ./internal/state ./internal/view ./internal/web
empty =
SLOW_PATTERN = $(subst $(empty) $(empty),|,$(foreach test,$(SLOW),^$(subst /,$$/^,$(test))$$))

.DEFAULT_GOAL := build
.PHONY: build release demo test test-slow test-packages test-runtimes test-vm test-all long soak bench bench-quick screenshots lint clean

build:
	CGO_ENABLED=0 go build -buildvcs=auto -trimpath -ldflags '$(LDFLAGS)' -o bin/nfsync ./cmd/nfsync
	CGO_ENABLED=0 go build -buildvcs=auto -trimpath -ldflags '$(LDFLAGS)' -o bin/nfsync-coordinator ./cmd/nfsync-coordinator

release:
	rm -rf dist
	nfpm=$$(scripts/nfpm.sh) && go run ./packaging/release -version '$(VERSION)' -nfpm "$$nfpm" -out dist

demo: build
	@bin/nfsync demo

# Most of the time of packaging is the start of systemd: it comes first, beside what computes.
test:
	scripts/deps.sh
	go vet ./...
	go test -p 3 -timeout 30m -skip '$(SLOW_PATTERN)' ./packaging/... ./...

test-slow:
	scripts/deps.sh
	go test -timeout 30m -run '$(SLOW_PATTERN)' $(SLOW_PACKAGES)
	CGO_ENABLED=1 go test -race ./internal/host ./internal/web ./internal/agent -run '^(TestTwoCallers|TestScrapeDuringLap|TestPageDuringChanges|TestDaysWhileReading|TestOverviewOfLaps)$$'
	go test ./internal/spec -run '^$$' -fuzz '^FuzzParse$$' -fuzztime $(FUZZTIME)

test-packages:
	scripts/deps.sh
	go vet -tags packages ./packaging
	go test -tags packages -count=1 -timeout 30m ./packaging

test-runtimes:
	scripts/deps.sh
	go vet -tags runtimes ./runtimes
	go test -tags runtimes -count=1 -timeout 15m ./runtimes

test-vm:
	scripts/vm-deps.sh
	go vet -tags vm ./vm ./vm/testdata/pkt ./vm/testdata/steps ./vm/testdata/entries
	go test -tags vm -count=1 -timeout 45m ./vm $(VMFLAGS)

long:
	NFSYNC_KILLS=200 go test ./cmd/nfsync -run '^TestAgentKilled$$' -count=1 -v -timeout 0
	NFSYNC_COMMITS=10000 go test ./internal/source -run '^TestVerifyFarBehind$$' -count=1 -v
	NFSYNC_KILLS=1000 go test ./internal/coordinator -run '^TestTwoAtOnceAreSafe$$' -count=1 -v
	NFSYNC_KILLS=10 go test ./internal/engine -run '^(TestThreeServers|TestKilledServer)$$' -count=1 -v -timeout 30m
	NFSYNC_AGENTS=1000 go test ./internal/agent/fleetscale -count=1 -v -timeout 30m

soak:
	NFSYNC_SOAK=$(SOAKTIME) go test -tags soak ./cmd/nfsync -run '^TestAgentSoak$$' -count=1 -v -timeout 0

test-all: SOAKTIME = 2m
test-all: test test-slow lint long soak test-packages test-runtimes test-vm

bench: build
	scripts/deps.sh ansible-playbook:ansible
	go build -o bin/bench ./bench
	bin/bench -out docs/performance.md

bench-quick: build
	scripts/deps.sh
	go build -o bin/bench ./bench
	bin/bench -quick

screenshots:
	scripts/deps.sh
	NFSYNC_SCREENSHOTS=$(CURDIR)/docs/images go test ./internal/web -run '^TestScreenshots$$' -count=1

lint:
	scripts/lint.sh

clean:
	rm -rf bin dist .cache
