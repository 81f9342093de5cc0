# `make help` lists the targets. `sudo make test` runs every test there is.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-print-directory
.DEFAULT_GOAL := help

# Found when first needed, so that `make help` works without it. The script
# says what to do when there is none.
GO = $(eval GO := $$(shell test/prepare.sh go))$(GO)

# Under sudo the settings of whoever called it (a module proxy, say) still hold.
GOENV_OF_USER := $(shell test/prepare.sh goenv)
ifneq ($(GOENV_OF_USER),)
export GOENV := $(GOENV_OF_USER)
endif

# Every recipe that uses Go begins with this: tests start `go` by name too.
WITH_GO = export PATH="$(dir $(GO)):$$PATH";

CACHE   := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/havip
TOOLS   := $(CACHE)/bin
# A new version of any tool changes go.sum, and with it the stamp.
STAMP    = $(TOOLS)/.built-$(shell cksum test/tools/go.mod test/tools/go.sum | cksum | cut -d' ' -f1)
PSTAMP   = $(TOOLS)/.packaging-$(shell cksum packaging/tools/go.mod packaging/tools/go.sum | cksum | cut -d' ' -f1)
BUILD   := bin/test
TALLY   := $(BUILD)/counts
VERSION ?= $(shell git -c safe.directory='*' describe --tags --dirty 2>/dev/null || echo dev)
STRIP   := -s -w
# Leaves out what nothing here uses: gRPC's tracing pages, and net/http's own
# HTTP/2 (the socket and the health check speak HTTP/1, gRPC brings another).
TAGS    := grpcnotrace,nethttpomithttp2
LDFLAGS := $(STRIP) -X main.version=$(VERSION)
ARCHS   ?= amd64 arm64
DIST    ?= dist
PACKAGING = DIST='$(DIST)' VERSION='$(VERSION)' ARCHS='$(ARCHS)' TOOLS='$(TOOLS)' LDFLAGS='$(STRIP)' TAGS='$(TAGS)'

# What the namespace tests, the booted masters and the simulation run by
# themselves; everything else is a unit test.
APART := /election/sim$$|/test/faults$$|/test/lab$$|/test/adopt$$|/test/packages$$|/test/kubeadm$$|/test/e2e$$

# Where the tests find packages: a repository of each version, from the older to
# the newer.
MADE          := $(BUILD)/packages
TEST_VERSIONS := 0.0.1 0.0.2

REPEAT         ?= 10
SCHEDULES      ?= 2000000
SCALE          ?= 3,5,7
TEST_SCHEDULES ?= 40000
FUZZTIME       ?= 1m

# What the kubeadm tests run, and where it is kept. ETCD is the version that this
# kubeadm asks for.
KUBERNETES     ?= v1.34.4
ETCD           ?= v3.6.5
KUBE            = $(CACHE)/k8s/$(KUBERNETES)

# What a cluster is upgraded to: the minor version after it. Empty: it is not, and
# the test says so.
NEXT           ?= $(if $(filter v1.34.%,$(KUBERNETES)),v1.35.4)
NEXT_ETCD      ?= v3.6.6
AFTER           = $(if $(NEXT),$(CACHE)/k8s/$(NEXT))

# Where the end-to-end tests find the package, and what they are told.
E2E  := $(BUILD)/e2e
WITH  = -binaries $(KUBE) -package $(CURDIR)/$(E2E)

##@ Build

.PHONY: build
build: go ## build bin/havipd and bin/havipctl
	@mkdir -p bin
	@$(WITH_GO) CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags $(TAGS) -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...
	@$(call give_back,bin)

.PHONY: tools
tools: go packages-build ## build etcd, etcdctl, etcdutl and staticcheck into ~/.cache/havip/bin
	@if [ ! -e $(STAMP) ]; then \
		echo "building etcd, etcdctl, etcdutl and staticcheck into $(TOOLS) (some minutes, once)"; \
		mkdir -p $(TOOLS); \
		$(WITH_GO) cd test/tools; \
		build() { CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o $(TOOLS)/$$1.new $$2 && mv $(TOOLS)/$$1.new $(TOOLS)/$$1; }; \
		build etcd go.etcd.io/etcd/server/v3; \
		build etcdctl go.etcd.io/etcd/etcdctl/v3; \
		build etcdutl go.etcd.io/etcd/etcdutl/v3; \
		build staticcheck honnef.co/go/tools/cmd/staticcheck; \
		rm -f $(TOOLS)/.built-*; touch $(STAMP); \
	fi

.PHONY: deb rpm
deb rpm: go packages-build packaging-tools ## packages for ARCHS="amd64 arm64" in dist/
	@$(WITH_GO) $(PACKAGING) packaging/build.sh $@
	@$(call give_back,$(DIST))

.PHONY: repo
repo: deb rpm ## apt and rpm repository in dist/repo, indices signed with KEY=…
	@test/prepare.sh packages apt-ftparchive:apt-utils createrepo_c:createrepo-c $(if $(KEY),gpg:gnupg)
	@PKG_VERSION="$$($(PACKAGING) packaging/build.sh version)" DIST='$(DIST)' packaging/repo.sh $(KEY)
	@$(call give_back,$(DIST))

.PHONY: lint-packages
lint-packages: deb rpm ## lintian and rpmlint on the packages in dist/
	@test/prepare.sh packages lintian:lintian rpmlint:rpmlint rpm:rpm
	@v="$$($(PACKAGING) packaging/build.sh version)"; \
		lintian --profile debian --fail-on error,warning --allow-root --suppress-tags '' dist/havip_$$v-*.deb; \
		rpmlint -c packaging/rpm/rpmlint.toml dist/havip-$$v-*.rpm

.PHONY: packaging-tools
packaging-tools: go
	@if [ ! -e $(PSTAMP) ]; then \
		echo "building nfpm and go-md2man into $(TOOLS)"; \
		mkdir -p $(TOOLS); \
		$(WITH_GO) cd packaging/tools; \
		GOBIN=$(TOOLS) CGO_ENABLED=0 go install -trimpath -buildvcs=false tool; \
		rm -f $(TOOLS)/.packaging-*; touch $(PSTAMP); \
	fi

.PHONY: promtool
promtool: # to check what is shipped for Prometheus; its package would start a server
	@test/prepare.sh program promtool:prometheus $(TOOLS)

.PHONY: clean
clean: ## remove what was built here (not the tools in ~/.cache)
	@rm -rf bin dist

##@ See it work

.PHONY: demo
demo: root packages-build tools build ## three masters, a power cut, a handover: watch the address move (sudo)
	@mkdir -p $(BUILD)
	@$(WITH_GO) CGO_ENABLED=0 go build -buildvcs=false -o $(BUILD)/demo ./test/demo
	@$(call give_back,bin)
	@exec $(BUILD)/demo $(if $(STAY),-stay)

.PHONY: lab
lab: root tools kubernetes packages-boot e2e-package ## a real cluster on three machines, until Ctrl-C; BARE=1: without a cluster (sudo)
	@$(WITH_GO) go build -buildvcs=false -o $(BUILD)/stay ./test/e2e/stay; exec $(BUILD)/stay $(WITH) $(if $(BARE),-bare)

##@ Test

.PHONY: test
test: root packages-test ## everything below but the long runs; ends with the count (sudo)
	@rm -f $(TALLY); \
	$(MAKE) check unit sim-short faults-short package-test adopt-test kubeadm-short e2e-short; \
	$(call give_back,bin); \
	printf '\n== all of it took %d min\n' $$(((SECONDS + 30) / 60)); \
	$(BUILD)/tally -close $(TALLY)

.PHONY: check
check: go tools ## gofmt, go vet, staticcheck
	@echo "== gofmt, go vet, staticcheck"
	@$(WITH_GO) bad=$$(gofmt -l $$(git -c safe.directory='*' ls-files '*.go' 2>/dev/null || find . -name '*.go')); \
		if [ -n "$$bad" ]; then echo "error: not formatted by gofmt: $$bad" >&2; exit 1; fi
	@$(WITH_GO) go vet ./...
	@$(WITH_GO) $(TOOLS)/staticcheck ./...

# Everything is compiled first with all processors, then the packages are
# tested one after the other: many have real clocks, sockets and etcd members.
.PHONY: unit
unit: go tools promtool build packages-test ## unit tests with the race detector (some need root)
	@echo "== unit tests, with the race detector"
	@$(WITH_GO) go build -race ./...
	@$(WITH_GO) $(call counted,unit,-race -p 1 -timeout 20m $$(go list ./... | grep -vE '$(APART)'))

.PHONY: sim-short
sim-short: go
	@echo "== simulation, $(TEST_SCHEDULES) schedules"
	@$(WITH_GO) $(call counted,simulation,-timeout 45m ./election/sim -schedules $(TEST_SCHEDULES))

.PHONY: faults-short
faults-short: root go tools build
	@echo "== faults, once each"
	@$(WITH_GO) $(call counted,faults,-timeout 30m ./test/faults)

.PHONY: package-test
package-test: root go tools packages-boot test-packages ## install, upgrade, reboot on masters that boot (sudo)
	@echo "== masters that boot, and the packages on them, once each"
	@$(WITH_GO) $(call counted,packages,-count=1 -p 1 -timeout 30m ./test/lab ./test/packages)

.PHONY: adopt-test
adopt-test: root go tools packages-boot build ## migrations from keepalived and from a stand-in for kube-vip (sudo)
	@echo "== migrations on masters that boot"
	@$(WITH_GO) $(call counted,adopt,-count=1 -timeout 20m ./test/adopt)

# The real kubeadm takes long to build, so it is not built here; that it was not
# run is said.
.PHONY: kubeadm-short
kubeadm-short: root go
	@if test/kubernetes.sh have $(KUBE); then $(MAKE) kubeadm-run; else \
		echo "== kubeadm: NOT RUN, $(KUBE) is not complete: sudo make kubeadm-test builds it (13 to 20 min, once)"; fi

.PHONY: kubeadm-run
kubeadm-run:
	@echo "== the real kubeadm $(KUBERNETES)"
	@$(WITH_GO) $(call counted,kubeadm,-timeout 20m ./test/kubeadm -binaries $(KUBE))

# The real kubelet, containers and control plane: as above, and the long cases only
# by make e2e.
.PHONY: e2e-short
e2e-short: root go tools
	@if test/kubernetes.sh have $(KUBE); then $(MAKE) packages-boot e2e-package e2e-run CASES='TestWriteReport|TestCluster|TestCrash|TestReboot'; else \
		echo "== e2e: NOT RUN, $(KUBE) is not complete: sudo make e2e builds it (13 to 20 min, once)"; fi

.PHONY: e2e-run
e2e-run:
	@echo "== clusters on machines that boot, by the real kubeadm $(KUBERNETES)"
	@$(WITH_GO) $(call counted,e2e,-timeout 90m ./test/e2e $(WITH) -next '$(AFTER)' $(if $(CASES),-run '$(CASES)'))

##@ Long runs

.PHONY: e2e
e2e: root tools kubernetes kubernetes-next packages-boot e2e-package ## every case on real clusters, KUBERNETES=v1.34.4; builds it (sudo)
	@$(MAKE) e2e-run

.PHONY: e2e-report
e2e-report: root tools kubernetes kubernetes-next packages-boot e2e-package ## every case, or CASES, on real clusters REPEAT=10 times; writes docs/clusters.md (sudo)
	@mkdir -p docs
	@$(WITH_GO) go test -timeout 0 -v ./test/e2e $(WITH) -next '$(AFTER)' -repeat $(REPEAT) -report $(CURDIR)/docs/clusters.md $(if $(CASES),-run '$(CASES)')
	@$(call give_back,docs)

.PHONY: kubeadm-test
kubeadm-test: root kubernetes packages-test ## the real kubeadm and control plane, KUBERNETES=v1.34.4; builds them (sudo)
	@$(MAKE) kubeadm-run

.PHONY: sim
sim: go ## the simulation with SCHEDULES=2000000 random schedules
	@$(WITH_GO) go test -timeout 0 -v -run TestSchedules ./election/sim -schedules $(SCHEDULES)

.PHONY: faults
faults: root go tools build ## every fault REPEAT=10 times; writes docs/faults.md (sudo)
	@mkdir -p docs
	@$(WITH_GO) go test -timeout 0 -v ./test/faults -repeat $(REPEAT) -report $(CURDIR)/docs/faults.md
	@$(call give_back,docs)

.PHONY: fence-oldkernel
fence-oldkernel: root go ## the fence on Debian 12's kernel, in an emulated machine (sudo)
	@mkdir -p $(BUILD)
	@$(WITH_GO) CGO_ENABLED=0 go test -c -o $(BUILD)/fence.test ./vip/fence
	@$(call give_back,bin)
	@test/oldkernel.sh $(BUILD)/fence.test -test.v -test.timeout 10m

.PHONY: bench
bench: root go tools build bench-programs ## FAULTS of CONTENDERS (regexps) REPEAT=10 times, beside keepalived; writes docs/benchmark.md (sudo)
	@mkdir -p docs
	@exec $(BUILD)/bench -plain $(BUILD)/plain -out $(CURDIR)/docs -repeat $(REPEAT) -faults '$(FAULTS)' -contenders '$(CONTENDERS)' -scale '$(SCALE)'
	@$(call give_back,docs)

# keepalived's package brings a unit that starts nothing without a configuration.
.PHONY: bench-programs
bench-programs: root go
	@test/prepare.sh packages keepalived:keepalived curl:curl
	@mkdir -p $(BUILD)
	@$(WITH_GO) CGO_ENABLED=0 go build -trimpath -buildvcs=false -o $(BUILD)/ ./test/bench ./test/bench/plain
	@$(call give_back,bin)

.PHONY: package-report
package-report: root go tools packages-boot test-packages ## every package case REPEAT=10 times; writes docs/packages.md (sudo)
	@mkdir -p docs
	@$(WITH_GO) go test -timeout 0 -v ./test/packages -repeat $(REPEAT) -report $(CURDIR)/docs/packages.md
	@$(call give_back,docs)

.PHONY: fuzz
fuzz: go ## every fuzz test for FUZZTIME=1m
	@$(WITH_GO) for pkg in $$(go list ./...); do \
		for f in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "== $$pkg $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

##@ Help

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: go
go:
	@test -n "$(GO)"

.PHONY: kubernetes kubernetes-next
kubernetes: go
	@$(WITH_GO) test/kubernetes.sh build $(KUBE) $(KUBERNETES) $(ETCD)

kubernetes-next: go
	@$(if $(NEXT),$(WITH_GO) test/kubernetes.sh build $(AFTER) $(NEXT) $(NEXT_ETCD))

# Built anew each time, as for the packages' own tests.
.PHONY: e2e-package
e2e-package: root go
	@rm -rf $(E2E)
	@$(MAKE) deb ARCHS=$$($(GO) env GOHOSTARCH) DIST=$(E2E) >/dev/null
	@$(call give_back,bin)

.PHONY: root
root:
	@if [ "$$(id -u)" != 0 ]; then echo "error: needs root: run sudo make $(firstword $(MAKECMDGOALS))" >&2; exit 1; fi

# Built anew each time: what is tested is what is here. The key lives as long as
# this recipe.
.PHONY: test-packages
test-packages: root go
	@test/prepare.sh packages gpg:gnupg
	@echo "building packages of two versions into $(MADE)"
	@rm -rf $(MADE); \
	export GNUPGHOME=$$(mktemp -d); \
	trap 'gpgconf --kill all; rm -rf "$$GNUPGHOME"' EXIT; \
	gpg --batch --quiet --passphrase '' --quick-generate-key 'havip test <test@havip.invalid>' default default never 2>/dev/null; \
	for v in $(TEST_VERSIONS); do \
		$(MAKE) repo VERSION=v$$v ARCHS=$$($(GO) env GOHOSTARCH) DIST=$(MADE)/$$v KEY=test@havip.invalid >/dev/null; \
	done
	@$(call give_back,bin)

.PHONY: packages-build packages-test packages-boot
packages-build:
	@test/prepare.sh packages
packages-test: # the race detector needs a C compiler; the address's tests need ip and sysctl
	@test/prepare.sh packages gcc:gcc gcc:libc6-dev ip:iproute2 sysctl:procps

packages-boot: # systemd-container boots the masters, mmdebstrap makes their tree
	@test/prepare.sh packages systemd-nspawn:systemd-container mmdebstrap:mmdebstrap nsenter:util-linux rpm:rpm

# Runs go test, shows a line per package and what failed, and counts.
counted = mkdir -p $(BUILD); go build -buildvcs=false -o $(BUILD)/tally ./test/tally; \
	go test -json $(2) | $(BUILD)/tally -label $(1) -into $(TALLY)

# Under sudo what was written here belongs to whoever called it.
give_back = if [ -n "$${SUDO_UID:-}" ]; then chown -R "$$SUDO_UID:$${SUDO_GID:-$$SUDO_UID}" $(1); fi
