# Everything here is one line away; `make help` lists it.

GOLANGCI_LINT_VERSION := v2.15.0
GOTESTSUM_VERSION     := v1.13.0

BINARY        := bin/flashsale
PROFILE       := cmd/flashsale/serve.pprof
TOOLS         := bin/tools
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)/golangci-lint
GOTESTSUM     := $(TOOLS)/gotestsum-$(GOTESTSUM_VERSION)/gotestsum
VERSION       := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# The shuffle seed is printed, so a failing order can be repeated.
TEST_FLAGS := -timeout 20m -shuffle=on
RACE       := $(if $(filter true,$(CI)),race)

.DEFAULT_GOAL := help
.PHONY: help run test test-race test-faults test-faults-privileged pictures lint cover bench build profile migrate up down clean deps test-deps

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-22s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# exec leaves one process between make and the server's Ctrl-C.
run: deps build ## run it here, with a Redis and a Postgres of its own
	@exec $(BINARY) serve --dev

test: test-deps $(GOTESTSUM) ## run all tests (with the race detector when CI=true)
	$(GOTESTSUM) --format pkgname-and-test-fails -- $(TEST_FLAGS) $(RACE:%=-%) ./...

test-race: RACE := race
test-race: test-deps $(GOTESTSUM) ## run all tests with the race detector
	$(GOTESTSUM) --format pkgname-and-test-fails -- $(TEST_FLAGS) -race ./...

# SEED= any number repeats a run, DURATION= is for each of the two plans.
test-faults: test-deps ## break a running shop on purpose: SEED=, DURATION=10m
	FAULTS_SEED=$(SEED) FAULTS_DURATION=$(or $(DURATION),10m) go test -count=1 -timeout 0 -v ./internal/faults

test-faults-privileged: ## the same with real networks and disks that lie, stall and fail; needs root and Linux: SEED=, DURATION=10m
	@[ "$$(uname)" = Linux ] && [ "$$(id -u)" = 0 ] || \
		{ echo "network namespaces and mounts need Linux and root: sudo make test-faults-privileged"; exit 1; }
	@deploy/install-deps.sh netns
	FAULTS_SEED=$(SEED) FAULTS_DURATION=$(or $(DURATION),10m) go test -count=1 -timeout 0 -v -tags privileged \
		-run 'Network|Disk|Vanishes|Half|Silent' ./internal/faults

pictures: test-deps ## take the pictures of the docs again, of a sale of a minute
	go test -count=1 -timeout 10m -tags pictures -run Pictures ./cmd/flashsale

lint: $(GOLANGCI_LINT) ## check formatting, style and go.mod
	$(GOLANGCI_LINT) run --allow-parallel-runners ./...
	go mod tidy -diff

cover: test-deps ## measure test coverage: the total here, the lines in bin/cover.html
	@mkdir -p bin
	go test $(TEST_FLAGS) -coverpkg=./... -coverprofile=bin/cover.out ./...
	@go tool cover -html=bin/cover.out -o bin/cover.html
	@go tool cover -func=bin/cover.out | tail -n 1

bench: deps build ## measure this machine and prove what it sold; the page is bench/results/report.html
	@exec $(BINARY) bench tour

build: ## build bin/flashsale, a static binary
	CGO_ENABLED=0 go build -pgo=$(PROFILE) -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BINARY) ./cmd/flashsale

profile: deps build ## measure anew where a service at its peak spends its time, which the build goes by
	BINARY=$(BINARY) bench/profile.sh $(PROFILE)

migrate: deps build ## bring the ledger's schema up to date
	@exec $(BINARY) migrate up --dev

# A token of this run where neither the environment nor .env has one.
up: ## start Redis, Postgres, flashsale, Prometheus and Grafana in Docker
	@if [ -z "$$ADMIN_TOKEN" ] && ! grep -qs '^ADMIN_TOKEN=.' .env; then \
		ADMIN_TOKEN=$$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n'); export ADMIN_TOKEN; \
		echo "admin token  $$ADMIN_TOKEN"; \
	fi; \
	docker compose --profile app up -d --build --wait

# Compose reads the whole file, and with it the settings that `up` needs.
down: ## stop them; their data stays
	ADMIN_TOKEN=unused docker compose --profile app down

clean: ## remove bin/ and cached test results; never the data folder
	rm -rf bin
	go clean -testcache

deps:
	@deploy/install-deps.sh

# Tests look at the pages in a browser; the race detector needs a C compiler.
test-deps:
	@deploy/install-deps.sh test $(RACE)

# A version of its own folder: a new version installs itself.
$(GOLANGCI_LINT):
	GOBIN=$(abspath $(@D)) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

$(GOTESTSUM):
	GOBIN=$(abspath $(@D)) go install gotest.tools/gotestsum@$(GOTESTSUM_VERSION)
