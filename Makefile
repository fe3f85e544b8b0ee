# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
# `make help` lists the targets. V=1 shows the commands.

PREFIX  ?= /usr/local
DESTDIR ?=

ifeq ($(V),1)
Q :=
else
Q := @
MAKEFLAGS += --no-print-directory
endif

.DELETE_ON_ERROR:
.SUFFIXES:
.NOTPARALLEL:

.PHONY: all setup build compile bpf layouts check test fuzz-diff fuzz-packets demo bench install test-vm clean help

all: build

setup: ## installs what building and testing needs: Debian packages, npm packages
	$(Q)scripts/setup

build: compile bpf ## compiles the TypeScript and the BPF objects

# The loader builds the BPF objects, so it comes first.
compile:
	$(Q)node_modules/.bin/tsc -b

bpf: compile
	$(Q)node scripts/build-bpf.mjs

layouts: build ## writes src/generated/ anew from the C headers
	$(Q)node scripts/layouts.mjs
	$(Q)node_modules/.bin/tsc -b

check: setup build ## types, lint, format, shell scripts, generated layouts, the 4.19 gate, unit tests
	$(Q)node scripts/run-tests.mjs check loader unit

test: setup build ## every test; needs root
	$(Q)node scripts/run-tests.mjs loader unit prog e2e redirect xdp

# N, SEED, FAMILY (4 or 6) and KIND (tcp, udp, icmp …) as one likes.
fuzz-diff: setup build ## random sequences against Netfilter: N=100000 SEED=1 FAMILY=4; needs root
	$(Q)DIFF_SEQUENCES=$(or $(N),100000) DIFF_SEED=$(SEED) DIFF_FAMILY=$(FAMILY) DIFF_KIND=$(KIND) \
		node dist/test/e2e/netfilter.test.js

fuzz-packets: setup build ## mutated packets through the hooks: N=1000000 SEED=1; needs root
	$(Q)FUZZ_PACKETS=$(or $(N),1000000) FUZZ_SEED=$(or $(SEED),1) node dist/test/prog/fuzz.test.js

demo: setup ## two clients behind a router, all in network namespaces; needs root
	$(Q)echo "==> building"
	$(Q)$(MAKE) build
	$(Q)scripts/demo

bench: setup build ## measures, prints tables with the machine's facts, plots build/packets-over-flows.svg; needs root
	$(Q)node dist/test/bench/main.js --plot build/packets-over-flows.svg

install: setup build ## puts ctnat below PREFIX (/usr/local)
	$(Q)node scripts/install.mjs "$(DESTDIR)" "$(PREFIX)"

test-vm: setup build ## the tests on other kernels, in virtual machines
	$(Q)test/vm/run

clean: ## removes what the build made
	$(Q)rm -rf build dist loader/dist *.tsbuildinfo loader/*.tsbuildinfo

help: ## shows this
	$(Q)sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 12
