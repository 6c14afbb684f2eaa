# The developer's only interface; CI calls it too. `make help` lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

export CARGO_TARGET_DIR ?= $(CURDIR)/target
# The cargo profile that the Debian packages are built with.
DEB_PROFILE ?= release
# Transactions of the record that `make bench` measures; a million take some gigabytes and half an hour.
RECORD ?= 50000

# How long `make soak` takes, and with which random numbers.
SOAK_SECONDS ?= 3600
SEED ?= 1
# Random runs of `make torture`, beside the whole matrix.
TORTURE_RUNS ?= 85000
# Power cuts of `make powercuts`; each boots a virtual machine, which takes one to several minutes.
CUTS ?= 24
# Kills of real dpkg of `make kills`; each takes about a second.
KILLS ?= 640
# Power cuts of `make kills` on each of ext4 and xfs; each takes about a second, too.
STOPS ?= 260

.PHONY: help setup build test unit torture kills powercuts soak machine real demo deb reproducible fuzz supply bench lint docs fmt clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS=$$'\t' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

setup: ## install the Debian packages that the build and the tests need (as root; else say what is missing)
	@scripts/setup

build: ## build every program, for debugging
	cargo build --workspace --locked

test: ## run everything: format, lints, unit, contract, bus, command line; as root also the machine tests
	@scripts/test

unit: ## run all tests but the machine tests
	cargo test --workspace --locked --no-fail-fast

torture: ## kill the engine at every call that writes, then at random in recovery: 100,000 runs (hours); real dpkg at 10,000; 2,800 power cuts
	cargo build --locked --release --package backstep-torture
	@scripts/torture $(SEED) $(TORTURE_RUNS)
	$(MAKE) kills KILLS=12500 STOPS=1300
	$(MAKE) powercuts CUTS=200

kills: ## kill real apt and dpkg, or the worker, KILLS times (640) at calls that change something, or stop their disk (as root)
	@scripts/setup build test machine
	cargo build --locked --package backstep-kills --package backstep-worker --package backstep-planner --package backstep-recover
	"$(CARGO_TARGET_DIR)/debug/backstep-kills" sweep $(KILLS) $(SEED)
	for kind in ext4 xfs; do "$(CARGO_TARGET_DIR)/debug/backstep-kills" cuts $$kind $(STOPS) $(SEED) || exit; done

powercuts: deb ## cut the power of a virtual machine CUTS times (24) while it changes packages (as root; an hour)
	@scripts/setup powercuts
	cargo build --locked --package backstep-powercuts
	"$(CARGO_TARGET_DIR)/debug/backstep-powercuts" torn
	"$(CARGO_TARGET_DIR)/debug/backstep-powercuts" sweep $(CUTS) $(SEED) 2

soak: ## random transactions with random kills for SOAK_SECONDS (3600), with the figures of what was used
	cargo build --locked --release --package backstep-torture
	"$(CARGO_TARGET_DIR)/release/backstep-torture" soak $(SEED) $(SOAK_SECONDS)

machine: deb ## run the machine tests: real systemd, D-Bus, polkit, apt and dpkg (as root)
	cargo test --locked --package backstep-tests --features machine --test machine --no-fail-fast

real: deb ## install, remove and purge 44 popular packages, undoing and redoing each (as root; half an hour)
	REAL="$(REAL)" cargo test --locked --package backstep-tests --features real --test machine -- --nocapture popular_packages

demo: ## show Backstep at work in a disposable Debian machine (as root)
	@scripts/demo

deb: ## build the Debian packages into build/deb
	@DEB_PROFILE=$(DEB_PROFILE) scripts/build-deb

reproducible: ## build the packages of the last commit twice, in different folders, and compare their bytes
	@scripts/reproducible

fuzz: ## fuzz every reader for FUZZ_SECONDS each (60); needs nightly Rust and cargo-fuzz
	@scripts/fuzz run

supply: ## check licences, sources and known holes of what we are built from with cargo-deny (needs the network)
	@scripts/supply

bench: deb ## measure against apt-get, and the record at scale; write docs/benchmarks*.md (as root)
	cargo bench --locked --package backstep-tests --features machine --bench machine
	cargo bench --locked --package backstep-tests --bench record -- --transactions $(RECORD)

lint: ## check format and lints
	cargo fmt --all --check
	cargo clippy --workspace --locked --all-targets --all-features -- -D warnings

docs: ## write the generated half of docs/security.md, and docs/schema/record.md
	cargo run --quiet --locked --package backstep-tests --bin backstep-security-page
	cargo run --quiet --locked --package backstep-tests --bin backstep-schema-page

fmt: ## format the sources
	cargo fmt --all

clean: ## remove what was built, and the demo machine
	@scripts/demo remove
	rm -rf build
	cargo clean
