# Two commands are enough: `make demo` and `make test`. The rest is for people who work on keyhole.
# The build itself is CMake's; its presets are in CMakePresets.json.
SECONDS ?= 60
PREFIX ?= /usr/local
DESTDIR ?=
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# a test often waits, for a disk or another process: one more than there are cores
TEST_JOBS ?= $(shell expr $(JOBS) + 1)

.NOTPARALLEL:
.PHONY: all build setup demo test asan tsan fuzz valgrind bench install clean help format format-check

all: build

help:
	@echo "make              build into build/release"
	@echo "make setup        install the system packages the build needs (Debian, Ubuntu)"
	@echo "make demo         setup, build, and run the main job offline into out/demo"
	@echo "make test         setup, build, and run every test"
	@echo "make asan         the tests under AddressSanitizer and UndefinedBehaviorSanitizer"
	@echo "make tsan         the tests under ThreadSanitizer"
	@echo "make fuzz         every fuzz target for SECONDS=$(SECONDS) each (clang)"
	@echo "make valgrind     the main commands under valgrind"
	@echo "make bench        speed against this machine's own limit"
	@echo "make install      into PREFIX=$(PREFIX) (DESTDIR is honoured)"
	@echo "make format       rewrite the sources as .clang-format says; format-check only looks"
	@echo "make clean        remove build/ and out/"

setup:
	@tools/setup.sh

build:
	@tools/build.sh release

demo: setup
	@tools/build.sh release keyhole
	@tools/demo.sh build/release/keyhole out/demo

test:
	@tools/setup.sh mpi
	@tools/build.sh release
	@ctest --test-dir build/release --output-on-failure --no-label-summary --timeout 300 -j $(TEST_JOBS)

asan tsan: setup
	@tools/build.sh $@
	@tools/sanitized.sh $@ $(TEST_JOBS)

fuzz:
	@tools/setup.sh fuzz
	@tools/build.sh fuzz
	@tools/fuzz.sh build/fuzz $(SECONDS) $(JOBS)

valgrind: setup
	@tools/setup.sh valgrind
	@tools/build.sh dev
	@tools/valgrind.sh build/dev/keyhole

bench: setup build
	@build/release/keyhole bench

install: build
	@DESTDIR="$(DESTDIR)" cmake --install build/release --prefix "$(PREFIX)"

format:
	@tools/format.sh --fix

format-check:
	@tools/format.sh

clean:
	rm -rf build out
