# The ways into the project, by name. Meson builds; scripts in tools/, tests/ and bench/ do the rest.

BUILD ?= build
export BULKHEAD_BUILD := $(abspath $(BUILD))

.PHONY: all demo test test-all sanitize lint fuzz bench install clean help
.DEFAULT_GOAL := all

all: ## build everything; build/bulkhead runs from there
	@tools/install-packages --check build
	@$(MAKE) --no-print-directory compile

# Not for the command line: what all, demo, test, sanitize, bench and install share once the packages are there.
.PHONY: compile
compile: $(BUILD)/build.ninja
	@ninja -C $(BUILD) $(TARGETS)

# Meson sees by itself when it has to run again.
$(BUILD)/build.ninja:
	@meson setup $(BUILD)

demo: ## show two Linux guests, each in its own jail, and one that boots Debian from a disk (needs root)
	@tools/install-packages build guest
	@$(MAKE) --no-print-directory compile TARGETS=programs
	@tools/demo

test: ## run the tests, about twenty minutes; end-to-end tests need root
	@tools/install-packages build guest test
	@$(MAKE) --no-print-directory compile
	@tests/run

test-all: ## the same with the tests that are marked slow
	@tools/install-packages build guest test libvirt
	@$(MAKE) --no-print-directory compile
	@tests/run --all

sanitize: ## build with sanitizers, run unit tests and bare-metal guests (needs root)
	@tools/install-packages build test
	@$(MAKE) --no-print-directory compile
	@tests/run --all sanitize

lint: ## check layout, layers and shell scripts; two compilers with -Werror, -fanalyzer and clang-tidy
	@tools/install-packages build test lint
	@$(MAKE) --no-print-directory compile
	@tests/lint/run

fuzz: ## fuzz each target for TIME seconds (60), JOBS targets at a time (1); see tests/fuzz/README.md
	@tools/install-packages build fuzz
	@[ -e $(BUILD)/fuzz/build.ninja ] || CC=clang meson setup -Dfuzz=true $(BUILD)/fuzz
	@ninja -C $(BUILD)/fuzz fuzz
	@tests/fuzz/run --time $(or $(TIME),60) --jobs $(or $(JOBS),1) $(TARGETS)

bench: ## measure (see bench/README.md)
	@tools/install-packages build guest
	@$(MAKE) --no-print-directory compile
	@bench/start.py
	@bench/console.py
	@bench/block.py

install: all ## install; PREFIX is set by: meson setup --prefix /usr build; DESTDIR is obeyed
	@meson install -C $(BUILD) --no-rebuild

clean: ## remove the build directory, fetched kernels too
	rm -rf -- $(BUILD)

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile
