# sidetap: make help
SHELL := /bin/bash
BUILD ?= build
CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
PREFIX ?= /usr/local
TIME ?= 60

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
CFLAGS ?= -O2 -g
override CFLAGS += -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -fno-strict-aliasing $(SANFLAGS)
CXXFLAGS = $(filter-out -std=%,$(CFLAGS)) -std=c++17
CPPFLAGS += -I. -I$(BUILD)/gen
LDLIBS := -lbpf -lelf -lz -lpcap -lrdkafka -lzstd -lprotobuf-c -lyaml -ljansson -lnghttp2 -lisal -lmicrohttpd -lseccomp -lre2 -lstdc++ -lcrypto -lpthread -lm

# base, rpc, sink, capture, analyze, replay: the library; cli: the program on top of it
LIB_DIRS := base rpc sink capture analyze replay
LIB_SRC := $(sort $(foreach d,$(LIB_DIRS),$(wildcard $(d)/*.c)))
CLI_SRC := $(sort $(wildcard cli/*.c))
TEST_SRC := $(sort $(wildcard tests/unit/*_test.c))
TEST_HELP := $(filter-out $(TEST_SRC),$(sort $(wildcard tests/unit/*.c)))
FUZZ_SRC := $(sort $(wildcard tests/fuzz/*_fuzz.c))
BENCH_SRC := $(sort $(wildcard tests/bench/*.c))

GEN_H := $(BUILD)/gen/record.pb-c.h $(BUILD)/gen/probe.skel.h
LIB := $(BUILD)/libsidetap.a
# RE2 is C++: one file of it
LIB_SRC_CC := $(sort $(foreach d,$(LIB_DIRS),$(wildcard $(d)/*.cc)))
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/%.o) $(LIB_SRC_CC:%.cc=$(BUILD)/%.o) $(BUILD)/gen/record.pb-c.o
CLI_OBJ := $(CLI_SRC:%.c=$(BUILD)/%.o)
CLI_LIB := $(BUILD)/libcli.a
TESTS := $(TEST_SRC:tests/unit/%.c=$(BUILD)/tests/%)
FUZZERS := $(FUZZ_SRC:tests/fuzz/%.c=$(BUILD)/fuzz/%)
BENCHES := $(BENCH_SRC:tests/bench/%.c=$(BUILD)/bench/%)

.PHONY: all deps demo test test-all test-kernels bench lint format fuzz asan install help clean \
	tests fuzzers benches bpf-check
.DELETE_ON_ERROR:

# make V=1 shows whole commands
Q := $(if $(V),,@)
say = $(if $(V)$(findstring s,$(firstword -$(MAKEFLAGS))),,@echo "  $(1)	$@")
.SECONDARY:

all: $(BUILD)/sidetap $(BUILD)/gen/record.desc ## build the program (build/sidetap)

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | \
		awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

deps: ## install what building and testing need (Debian 12 packages; quiet, idempotent)
	@tests/deps.sh

# ---- generated: the probe's skeleton, the record's protobuf-c code and descriptor set ----
$(BUILD)/bpf/%.bpf.o: bpf/probe.bpf.c $(wildcard bpf/*.h)
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(CLANG) -target bpf -mcpu=v2 -O2 -g -Wall -Wextra -Werror $(if $(findstring mutant,$@),-DMUTATE_VERDICT) \
		-I. -idirafter /usr/include/$(shell uname -m)-linux-gnu -c $< -o $@

$(BUILD)/gen/probe.skel.h: $(BUILD)/bpf/probe.bpf.o
	@mkdir -p $(@D)
	$(call say,GEN)
	$(Q)$(BPFTOOL) gen skeleton $< name probe > $@

$(BUILD)/gen/record.pb-c.c: sink/record.proto
	@mkdir -p $(@D)
	$(call say,GEN)
	$(Q)protoc --c_out=$(@D) -Isink $<
$(BUILD)/gen/record.pb-c.h: $(BUILD)/gen/record.pb-c.c ;

$(BUILD)/gen/record.desc: sink/record.proto
	@mkdir -p $(@D)
	$(call say,GEN)
	$(Q)protoc --descriptor_set_out=$@ --include_imports -Isink $<

# The version is compiled into one file only, and that again only when it changes.
$(BUILD)/gen/sidetap_version.h: FORCE
	@mkdir -p $(@D)
	@echo '#define SIDETAP_VERSION "$(VERSION)"' | cmp -s - $@ || \
		echo '#define SIDETAP_VERSION "$(VERSION)"' > $@
.PHONY: FORCE

# ---- objects ----
$(BUILD)/gen/record.pb-c.o: $(BUILD)/gen/record.pb-c.c
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) -Wno-error $(CPPFLAGS) -c $< -o $@

$(BUILD)/%.o: %.c | $(GEN_H) $(BUILD)/gen/sidetap_version.h
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) $(CPPFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/%.o: %.cc
	@mkdir -p $(@D)
	$(call say,CXX)
	$(Q)$(if $(findstring clang,$(CC)),$(CC)++,$(CXX)) $(CXXFLAGS) -I. -MMD -MP -c $< -o $@

$(LIB): $(LIB_OBJ)
	@rm -f $@
	@ar rcs $@ $^

$(CLI_LIB): $(filter-out %/main.o,$(CLI_OBJ))
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/sidetap: $(CLI_OBJ) $(LIB)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) $(CLI_OBJ) $(LIB) $(LDLIBS) -o $@

$(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(TEST_HELP:%.c=$(BUILD)/%.o) $(CLI_LIB) $(LIB) \
		| $(BUILD)/bpf/probe-mutant.bpf.o
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) $(filter %.o,$^) $(CLI_LIB) $(LIB) $(LDLIBS) -lcmocka -o $@

$(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/%.o $(TEST_HELP:%.c=$(BUILD)/%.o) $(LIB)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) -fsanitize=fuzzer $(filter %.o,$^) $(LIB) $(LDLIBS) -lcmocka -o $@

# its allocations can be made to fail
$(BUILD)/fuzz/conn_fuzz: LDLIBS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc

$(BUILD)/bench/%: $(BUILD)/tests/bench/%.o $(TEST_HELP:%.c=$(BUILD)/%.o) $(LIB)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS) $(filter %.o,$^) $(LIB) $(LDLIBS) -lcmocka -o $@

tests: $(TESTS)
fuzzers: $(FUZZERS)
benches: $(BENCHES)

# ---- checks ----
demo: deps ## the first minute: real calls through the eBPF probe into Kafka, shown
	@$(MAKE) --no-print-directory -j2 all >/dev/null
	@tests/demo.sh $(BUILD)/sidetap

test: deps ## unit, golden, fuzz corpus (plain and under sanitizers), end to end, quick peers
	@$(MAKE) --no-print-directory -j2 -s all tests benches
	@$(MAKE) --no-print-directory -j2 -s asan fuzz-build
	@tests/run.sh $(BUILD)

test-all: test ## and what is slower: kernels, a real broker, every peer, long campaigns
	@tests/run.sh $(BUILD) slow

test-kernels: deps all ## boot other kernels under QEMU, attach, compare
	@tests/kernels/run.sh $(BUILD)

asan: ## unit tests built with AddressSanitizer and UBSan into build/asan
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/asan CFLAGS="-O1 -g" \
		SANFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer" all tests

.PHONY: fuzz-build
fuzz-build: ## the fuzz targets into build/fuzzing (clang)
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/fuzzing CC=$(CLANG) CFLAGS="-O1 -g" \
		SANFLAGS="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined" fuzzers

fuzz: deps fuzz-build ## each fuzz target for TIME seconds
	@tests/fuzz/run.sh $(BUILD)/fuzzing/fuzz $(TIME)

bench: deps all benches ## side by side with tcpdump and GoReplay; report in build/bench/report.md
	@python3 tests/bench/run.py --program $(BUILD)/sidetap --out $(BUILD)/bench/report.md

lint: deps ## formatting, clang-tidy, include order, shellcheck, no value-returning atomics in the probe
	@$(MAKE) --no-print-directory -s $(GEN_H) $(BUILD)/gen/sidetap_version.h
	@tests/lint.sh $(BUILD)

format: ## clang-format everything in place
	@clang-format -i $$(git ls-files '*.c' '*.h')

install: all ## PREFIX=/usr/local DESTDIR=
	install -D -m 755 $(BUILD)/sidetap $(DESTDIR)$(PREFIX)/bin/sidetap
	install -D -m 644 sink/record.proto $(DESTDIR)$(PREFIX)/share/sidetap/record.proto
	install -D -m 644 $(BUILD)/gen/record.desc $(DESTDIR)$(PREFIX)/share/sidetap/record.desc
	install -D -m 644 deploy/sidetap.yaml $(DESTDIR)$(PREFIX)/share/sidetap/sidetap.yaml

clean: ## remove build/, but for its cache of downloads
	@find $(BUILD) -mindepth 1 -maxdepth 1 ! -name cache -exec rm -rf {} +

-include $(LIB_OBJ:.o=.d) $(CLI_OBJ:.o=.d) $(TEST_SRC:%.c=$(BUILD)/%.d) $(TEST_HELP:%.c=$(BUILD)/%.d) \
	$(FUZZ_SRC:%.c=$(BUILD)/%.d) $(BENCH_SRC:%.c=$(BUILD)/%.d)
