# stub53: build, run, test. `make run` is all a newcomer needs.

SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get
PREFIX ?= /usr/local
ARGS ?=

# Packages for building, and those that the tests use as clients and peers.
BUILD_PACKAGES := libldns-dev libssl-dev libsqlite3-dev pkg-config
TEST_PACKAGES := $(BUILD_PACKAGES) openssl curl python3-pytest python3-pytest-xdist libnss3-tools bind9-dnsutils knot-dnsutils ldnsutils nsd unbound dnsdist \
	python3-dnspython libc-bin util-linux iproute2 procps nginx-light fstrm-bin dnstap-ldns tshark prometheus sqlite3
# A server that would start when it is installed, and what it needs besides: unpacked here.
PEER_PACKAGES := knot-resolver lua-sec lua-socket
PEERS := .build/peers
# Real browsers and other clients, and the servers for their tests.
BROWSER_PACKAGES := $(BUILD_PACKAGES) chromium chromium-driver firefox-esr nginx-light libnss3-tools openssl curl util-linux \
	python3 nodejs default-jdk-headless musl-tools golang-go
# The servers that stub53 is compared with, and the load generators.
BENCH_PACKAGES := $(BUILD_PACKAGES) openssl dnsperf dnsmasq-base unbound nsd knot dnsdist pdns-recursor

# How tests are built and run. CI builds them so that the optimized build shares the C libraries' objects; see .ci/run.
TEST_BUILD ?=
BUILD_TESTS ?= swift build --build-tests $(TEST_BUILD)
RUN_TESTS := swift test --skip-build $(TEST_BUILD)
# All tests except end-to-end tests and browser tests. With more at once, one that waits would wait for all the others.
UNIT_TESTS := --skip BrowserTests --skip EndToEndTests --skip DaemonScenarioTests \
	--experimental-maximum-parallelization-width 24
# Each end-to-end test starts its own daemons, and a user has only 128 inotify instances.
PROGRAM_TESTS := --filter EndToEndTests --experimental-maximum-parallelization-width 24
# For `make sanitize`: address, thread, or both.
SANITIZERS ?= address thread
DOCS := .build/docs

BENCH_BUILD := swift build -c release --package-path Tests/Benchmarks --scratch-path .build/benchmarks
BENCH_PROGRAMS := .build/benchmarks/release
FUZZ_BUILD := swift build -c release --sanitize=address --package-path Tests/Fuzzing --scratch-path .build/fuzzing $(FUZZ_FLAGS)
# For `make fuzz`: seconds for each of the targets.
FUZZ_TIME ?= 300
TARGETS ?=
# For `make hostile`: seconds for each of the attacks, and which (default: all).
HOSTILE_TIME ?= 65
ATTACKS ?=
# For `make bench`, next to ROWS=zone,tcp (default: all), ROUNDS=5 and SECONDS=5: where results.json and results.svg go.
OUT ?= .build/bench

.PHONY: build run check test test-scenarios test-release test-browsers lint links structure reference docs coverage \
	sanitize fuzz hostile install clean bench bench-instructions build-tools test-tools browser-tools bench-tools instruction-tools script-tools

# Swift's libraries are linked statically: the program starts four times as fast, and runs without Swift installed.
build: build-tools
	swift build -c release --product stub53 --static-swift-stdlib

run: build
	$(if $(ARGS),,$(SUDO)) .build/release/stub53 serve $(ARGS)

# Run this before a commit.
check: lint links test-tools
	$(BUILD_TESTS)
	$(RUN_TESTS) $(UNIT_TESTS)

test: test-tools
	$(BUILD_TESTS)
	$(RUN_TESTS) $(UNIT_TESTS)
	$(RUN_TESTS) $(PROGRAM_TESTS)

# The end-to-end tests on the optimized build, which is what people run.
test-release: test-tools build
	$(BUILD_TESTS)
	STUB53=$(CURDIR)/.build/release/stub53 $(RUN_TESTS) $(PROGRAM_TESTS)

# The scenarios against a new daemon each; `make test` runs them in process.
test-scenarios: test-tools build
	$(BUILD_TESTS)
	STUB53=$(CURDIR)/.build/release/stub53 $(RUN_TESTS) --filter DaemonScenarioTests

# What real browsers do with our answers, headless; needs root, to give them a resolv.conf of their own.
test-browsers: browser-tools
	$(BUILD_TESTS)
	$(RUN_TESTS) --filter BrowserTests

lint:
	swift format lint --strict --parallel --recursive Sources Tests Package.swift

# Checks that the files, articles, types and targets named in the documents exist.
links: script-tools
	@Tests/links.py

# Shows which module imports which, and import cycles: none of modules, and none of more than three files.
structure: script-tools
	@Tests/imports.py --most 3

# Writes the table of keys into the article on configuration; a test checks that it matches the program.
reference: build-tools
	WRITE_REFERENCE=1 swift test --filter DocumentationTests

# The articles as a web site; a warning is an error.
docs: links
	@mkdir -p $(dir $(DOCS))
	docc convert Sources/stub53/Documentation.docc --output-path $(DOCS) --fallback-display-name stub53 \
		--fallback-bundle-identifier stub53 --warnings-as-errors
	@echo "python3 -m http.server --directory $(DOCS) serves them: http://localhost:8000/documentation/stub53"

# How many lines of each module the tests run, including daemons that they start; in a separate build.
coverage: test-tools script-tools
	swift build --build-tests --enable-code-coverage --scratch-path .build-coverage
	rm -rf .build-coverage/profiles
	export LLVM_PROFILE_FILE=$(CURDIR)/.build-coverage/profiles/%m.%p.profraw; \
	swift test --skip-build --scratch-path .build-coverage $(UNIT_TESTS) && \
	swift test --skip-build --scratch-path .build-coverage $(PROGRAM_TESTS)
	Tests/coverage.py .build-coverage

# Unit tests with the address or thread sanitizer, which makes them up to twenty times slower; each build has its own
# folder.
sanitize: test-tools
	export LONGEST_WAIT=500; \
	export LSAN_OPTIONS=suppressions=$(CURDIR)/Tests/leaks.txt:print_suppressions=0; \
	for kind in $(SANITIZERS); do \
		swift build --build-tests --sanitize=$$kind --scratch-path .build-$$kind || exit 1; \
		[ $$kind != thread ] || clang -shared -fPIC -O1 Tests/tsan.c -o .build-thread/tsan.so || exit 1; \
		env $$([ $$kind != thread ] || echo LD_PRELOAD=$(CURDIR)/.build-thread/tsan.so) \
			swift test --skip-build --sanitize=$$kind --scratch-path .build-$$kind $(UNIT_TESTS) || exit 1; \
	done

# Fuzzes the parsers of untrusted input with libFuzzer: TARGETS="zone query" (default: all), FUZZ_TIME=300 seconds each.
fuzz: build-tools
	$(FUZZ_BUILD) --product Fuzz
	Tests/Fuzzing/fuzz.sh .build/fuzzing/release/Fuzz $(FUZZ_TIME) $(TARGETS)

# What hostile clients, kills, full disks and missing descriptors do to the daemon, in 100 MB: ten minutes, loopback only.
hostile: script-tools build
	Tests/Hostile/hostile.py .build/release/stub53 $(HOSTILE_TIME) $(ATTACKS)

install: build
	$(SUDO) install -s -D -m 755 .build/release/stub53 $(DESTDIR)$(PREFIX)/bin/stub53
	$(SUDO) install -D -m 644 Sources/stub53/Resources/stub53.service $(DESTDIR)$(PREFIX)/lib/systemd/system/stub53.service
	$(SUDO) install -D -m 644 Sources/stub53/Resources/stub53.socket $(DESTDIR)$(PREFIX)/lib/systemd/system/stub53.socket
	$(SUDO) install -d $(DESTDIR)/etc/stub53/zones

clean:
	swift package clean
	rm -rf .build-coverage .build-address .build-thread $(DOCS)

# Measures stub53 and its peers with the same data and load, one after the other; about an hour for all rows.
bench: bench-tools build
	$(BENCH_BUILD) --product Echo
	$(BENCH_BUILD) --product Bench
	env ROWS="$(ROWS)" ROUNDS="$(ROUNDS)" SECONDS="$(SECONDS)" OUT="$(OUT)" STUB53=.build/release/stub53 \
		ECHO=$(BENCH_PROGRAMS)/Echo PEERS=Tests/Benchmarks/Peers $(BENCH_PROGRAMS)/Bench

# Instructions per operation against the checked-in baseline; BASELINE=update rewrites it.
bench-instructions: instruction-tools
	$(BENCH_BUILD) --product Instructions
	Tests/Benchmarks/instructions.sh $(BENCH_PROGRAMS)/Instructions Tests/Benchmarks/instructions.txt $(BASELINE)

script-tools:
	@command -v python3 >/dev/null || { $(call install_missing,python3); }

build-tools:
	@$(call install_missing,$(BUILD_PACKAGES))

test-tools:
	@$(call install_missing,$(TEST_PACKAGES))
	@[ -e $(PEERS)/usr/sbin/kresd ] || { mkdir -p $(PEERS) && cd $(PEERS) && $(APT) update -qq && \
		apt-get download -qq $(PEER_PACKAGES) && for file in *.deb; do dpkg -x $$file . || exit 1; done && rm *.deb; }

browser-tools:
	@$(call install_missing,$(BROWSER_PACKAGES))

bench-tools:
	@$(call install_missing,$(BENCH_PACKAGES))

instruction-tools:
	@$(call install_missing,$(BUILD_PACKAGES) binutils valgrind)

# Asks apt only for missing packages, so that a second run needs neither the network nor root.
define install_missing
missing=""; for package in $(1); do \
	dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
done; \
if [ -n "$$missing" ]; then \
	echo "installing$$missing"; \
	policy=/usr/sbin/policy-rc.d; made=; \
	if [ ! -e $$policy ]; then printf '#!/bin/sh\nexit 101\n' | $(SUDO) tee $$policy >/dev/null; $(SUDO) chmod +x $$policy; made=1; fi; \
	$(APT) update -qq && $(APT) install -y -qq --no-install-recommends $$missing >/dev/null; status=$$?; \
	[ -z "$$made" ] || $(SUDO) rm -f $$policy; \
	exit $$status; \
fi
endef
