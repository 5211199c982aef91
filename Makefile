# `make test` needs root, a Rust toolchain and a Debian machine; it installs the rest.

# What the tests run besides our own programs.
PACKAGES = dbus-daemon etcd-client etcd-server fish git python3 python3-venv curl iproute2 mmdebstrap ncurses-bin openssh-client openssh-server openssl \
	procps rsync tree uidmap util-linux vagrant vagrant-libvirt zsh
export DEBIAN_FRONTEND = noninteractive

# One build of everything, tests and programs, so that dependencies are compiled once; the dev profile optimises
# dependencies a little, which from a cold start is faster than a release build and its link-time optimisation. Most
# tests wait for nodes more than they work, so there are two at a time for each processor.
test: packages
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo build --workspace --all-targets --locked
	RUST_TEST_THREADS=$$(($$(nproc) * 2)) ./.ci/sum cargo test --workspace --locked --no-fail-fast

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
	cargo build --release --locked -p labnode -p lab -p corelab-tests
	$${CARGO_TARGET_DIR:-target}/release/bench
	$${CARGO_TARGET_DIR:-target}/release/bench lab
	cargo bench --locked -p labnode --bench fleet

# What `lab up` needs of Debian, and a C compiler to link with.
UP_PACKAGES = gcc libc6-dev mmdebstrap openssh-client

# The image is made while the programs are built.
up:
	@$(MAKE) -s packages PACKAGES="$(UP_PACKAGES)"
	@mkdir -p target
	@echo "building the node image, and labnode and lab (minutes the first time, nothing afterwards)"
	@image=$$PWD/target/image.tar; \
	[ -e $$image ] || sh images/build $$image >target/image.log 2>&1 & \
	cargo build --release --locked -p labnode -p lab && wait $$! && \
	bin=$${CARGO_TARGET_DIR:-target}/release && \
	{ [ -e "$$($$bin/lab image path)" ] || $$bin/lab image add $$image; } && $$bin/lab up

# Programs and image for machines without Rust.
dist:
	cargo build --release --locked -p labnode -p lab
	bin=$${CARGO_TARGET_DIR:-target}/release && $$bin/lab image build && \
	rm -rf target/dist && mkdir -p target/dist/corelab && \
	cp -r $$bin/lab $$bin/labnode "$$($$bin/lab image path)" README.md docs LICENSE-* target/dist/corelab/ && \
	strip target/dist/corelab/lab target/dist/corelab/labnode && \
	tar -C target/dist -czf target/corelab-$$(uname -m).tar.gz corelab && ls -l target/corelab-*.tar.gz

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
