# `make test` needs root, a Rust toolchain and a Debian machine; it installs the rest.

# What the tests run besides our own programs.
PACKAGES = dbus-daemon etcd-client etcd-server git python3 python3-venv curl iproute2 mmdebstrap ncurses-bin openssh-client openssl \
	procps rsync tree uidmap util-linux vagrant vagrant-libvirt
export DEBIAN_FRONTEND = noninteractive

# One build of everything, tests and programs, so that dependencies are compiled once; the dev profile optimises
# dependencies a little, which from a cold start is faster than a release build and its link-time optimisation.
test: packages
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo build --workspace --all-targets --locked
	./.ci/sum cargo test --workspace --locked --no-fail-fast

# Debian's etcd-server would start itself and take our default ports: policy-rc.d tells the package not to.
packages:
	@missing=; for package in $(PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q ' installed$$' || missing="$$missing $$package"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	echo "installing:$$missing"; \
	policy=/usr/sbin/policy-rc.d; \
	if [ -e $$policy ]; then made=; else made=yes; printf '#!/bin/sh\nexit 101\n' > $$policy; chmod +x $$policy; fi; \
	apt-get update -q && apt-get install -q -y --no-install-recommends $$missing; status=$$?; \
	[ -z "$$made" ] || rm -f $$policy; \
	exit $$status

bench:
	cargo build --release --locked -p labnode -p corelab-tests
	$${CARGO_TARGET_DIR:-target}/release/bench

# Linking needs a C compiler, which a fresh Debian lacks.
up:
	@command -v cc >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends gcc libc6-dev; }
	@echo "building labnode and lab (minutes the first time, nothing afterwards)"
	@cargo build -q --release --locked -p labnode -p lab
	@$${CARGO_TARGET_DIR:-target}/release/lab up

.PHONY: test packages bench up fuzz

# Feeds each parser of bytes from outside with what libFuzzer makes of the seeds, a minute each; a finding is kept in
# tests/fuzz/artifacts and becomes a test. Without a sanitizer the stable compiler will do.
FUZZ_SECONDS = 60
fuzz:
	@command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	cargo fuzz build --fuzz-dir tests/fuzz --sanitizer none
	@for target in $$(cargo fuzz list --fuzz-dir tests/fuzz); do \
		mkdir -p tests/fuzz/corpus/$$target; \
		echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
		cargo fuzz run --fuzz-dir tests/fuzz --sanitizer none $$target tests/fuzz/corpus/$$target tests/fuzz/seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=10 -print_final_stats=1 2>&1 | \
			grep -E 'stat::number_of_executed|panicked|Test unit written|ERROR' ; \
		[ -z "$$(ls tests/fuzz/artifacts/$$target 2>/dev/null)" ] || exit 1; \
	done
