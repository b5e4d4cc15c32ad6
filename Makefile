# stub53: build, run, test. `make run` is all a newcomer needs.

SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get
PREFIX ?= /usr/local
ARGS ?=

# What building needs, and what the tests use as clients and peers.
BUILD_PACKAGES := libldns-dev pkg-config
TEST_PACKAGES := $(BUILD_PACKAGES) bind9-dnsutils knot-dnsutils ldnsutils nsd unbound python3-dnspython libc-bin \
	util-linux iproute2 procps

.PHONY: build run test test-release lint install clean build-tools test-tools

build: build-tools
	swift build -c release --product stub53

run: build
	$(if $(ARGS),,$(SUDO)) .build/release/stub53 serve $(ARGS)

test: test-tools
	swift build --build-tests
	swift test --skip-build

# The tests of the whole program once more, on the optimized build that people run.
test-release: test-tools build
	STUB53=$(CURDIR)/.build/release/stub53 swift test --filter EndToEndTests

lint:
	swift format lint --strict --recursive Sources Tests Package.swift

install: build
	$(SUDO) install -D -m 755 .build/release/stub53 $(DESTDIR)$(PREFIX)/bin/stub53
	$(SUDO) install -D -m 644 Sources/stub53/Resources/stub53.service $(DESTDIR)$(PREFIX)/lib/systemd/system/stub53.service
	$(SUDO) install -d $(DESTDIR)/etc/stub53/zones

clean:
	swift package clean

build-tools:
	@$(call install_missing,$(BUILD_PACKAGES))

test-tools:
	@$(call install_missing,$(TEST_PACKAGES))

# Asks apt only for what is not there, so that a second run needs neither network nor rights.
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
