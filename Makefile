# The two that a newcomer needs are `make demo` and `make test`. Everything is built in CARGO_TARGET_DIR, by default
# ~/.cache/oprc/target; the binary is linked to target/oprc.

.DEFAULT_GOAL := help
.PHONY: help setup build guests demo demo-stop cluster cluster-stop test soak lint fmt bench docs openapi-check proto-check ci

help:
	@echo 'make demo       set up, build, start a grid, deploy and call a counter; leaves it running'
	@echo 'make demo-stop  stop that grid'
	@echo 'make cluster    the same with three hosts, a router and a gateway (OPRC_HOSTS=4 adds one)'
	@echo 'make cluster-stop'
	@echo '                stop them'
	@echo 'make test       set up, build, run every test'
	@echo 'make soak       break a cluster at random for 5 minutes and check what its clients saw (OPRC_SOAK_SECONDS=3600)'
	@echo 'make build      build target/oprc'
	@echo 'make guests     build the guest examples into target/guests/'
	@echo 'make bench      measure a fresh server against a bare HTTP handler (ARGS="--clients 1,16,64")'
	@echo 'make lint       formatting and clippy'
	@echo 'make fmt        format'
	@echo 'make docs       write docs/reference/cli.md anew'
	@echo 'make openapi-check'
	@echo '                have public validators check the OpenAPI documents, and call what they tell of'
	@echo 'make proto-check'
	@echo '                have buf check the gRPC interface: how it is written, and that no earlier client breaks'
	@echo 'make ci         everything that is checked before a change is taken'

setup:
	@scripts/setup

build: setup
	@scripts/build

guests: setup
	@scripts/guests

demo:
	@scripts/demo

demo-stop:
	@scripts/demo stop

cluster:
	@scripts/cluster

cluster-stop:
	@scripts/cluster stop

test:
	@scripts/test

soak:
	@scripts/soak

lint: setup
	@scripts/lint

fmt:
	cargo fmt --all

bench: build guests
	@scripts/bench $(ARGS)

docs: build
	target/oprc reference > docs/reference/cli.md

openapi-check: setup
	@scripts/openapi-check

proto-check:
	@scripts/proto-check

ci:
	@.ci/run
