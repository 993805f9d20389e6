# make                 the three programs, in build/release
# make FLAVOUR=asan    the same under AddressSanitizer and UBSan (or FLAVOUR=tsan), in build/asan
# make unit            the C test programs of this flavour, and what tests on node need in C
# make fuzz            the fuzz targets, which replay their corpus; see tests/fuzz/run for FLAVOUR=fuzz
# make bench           the load generator of tests/bench and its ceiling
# make format-check    is every file as .clang-format has it?
# make install, uninstall, deb: deploy/install.mk

FLAVOUR ?= release
VERSION := 0.1.0
BUILD   := build/$(FLAVOUR)
CC      ?= gcc

WARNINGS := -Wall -Wextra -Wshadow -Wpointer-arith -Wcast-qual -Wwrite-strings -Wstrict-prototypes \
            -Wmissing-prototypes -Wundef -Wvla -Wformat=2 -Wimplicit-fallthrough -Wconversion \
            -Wno-sign-conversion $(WERROR)
HARDEN   := -fstack-protector-strong -fPIE
LINK     := -pie -Wl,-z,relro,-z,now

OPTIMISE.release := -O2 -g -D_FORTIFY_SOURCE=2
OPTIMISE.asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPTIMISE.tsan    := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
OPTIMISE.fuzz    := $(OPTIMISE.asan) -fsanitize=fuzzer-no-link

CFLAGS  := -std=c17 -D_GNU_SOURCE -DVERSION='"$(VERSION)"' -I. $(WARNINGS) $(HARDEN) $(OPTIMISE.$(FLAVOUR)) -pthread
LDFLAGS := $(LINK) $(filter -fsanitize=%,$(OPTIMISE.$(FLAVOUR))) -pthread

# A library is named once, beside the floor that uses it.
LIBS.common  := -lconfig -ljansson -ljwt -lcrypto -lsodium -lsystemd
LIBS.db      := -lsqlite3 -lcrypt
LIBS.login   := -lfcgi
LIBS.gateway := -lmicrohttpd -lwslay -lz -lcurl

objects = $(patsubst %.c,$(BUILD)/%.o,$(1))
floor   = $(filter-out %/main.c,$(wildcard $(1)/*.c))

COMMON  := $(call objects,$(call floor,common))
DB      := $(call objects,$(call floor,db))
ADMIN   := $(call objects,$(call floor,db/admin))
LOGIN   := $(call objects,$(call floor,login-fcgi))
GATEWAY := $(call objects,$(call floor,gateway))

PROGRAMS := $(addprefix $(BUILD)/,sallyport sallyport-login sallyport-gateway)
UNIT     := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/*_test.c tests/system/*.c tests/protocol/*.c))

FUZZ     := $(patsubst %.c,$(BUILD)/%,$(filter-out %/replay.c,$(wildcard tests/fuzz/*.c)))
BENCH    := $(addprefix $(BUILD)/tests/bench/,load ceiling hashes)

all: $(PROGRAMS)
unit: $(UNIT)
fuzz: $(FUZZ)
bench: $(PROGRAMS) $(BENCH)

$(BUILD)/sallyport: $(BUILD)/db/admin/main.o $(ADMIN) $(DB) $(COMMON)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS.db) $(LIBS.common)

$(BUILD)/sallyport-login: $(BUILD)/login-fcgi/main.o $(LOGIN) $(DB) $(COMMON)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS.login) $(LIBS.db) $(LIBS.common)

$(BUILD)/sallyport-gateway: $(BUILD)/gateway/main.o $(GATEWAY) $(DB) $(COMMON)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS.gateway) $(LIBS.db) $(LIBS.common)

include deploy/install.mk

# The gateway with an echo where Socket.IO was.
$(BUILD)/tests/protocol/echo: $(BUILD)/tests/protocol/echo.o $(BUILD)/gateway/main.o $(BUILD)/everything.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS.gateway) $(LIBS.db) $(LIBS.common)

# A test program may use every module; what it does not name is not linked in.
$(BUILD)/everything.a: $(GATEWAY) $(LOGIN) $(ADMIN) $(DB) $(COMMON)
	rm -f $@ && ar rcs $@ $^

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/everything.a
	$(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS.gateway) $(LIBS.login) $(LIBS.db) $(LIBS.common)

# Who feeds a fuzz target: libFuzzer, or the corpus.
FEEDER := $(if $(filter fuzz,$(FLAVOUR)),-fsanitize=fuzzer,$(BUILD)/tests/fuzz/replay.o)
$(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(filter %.o,$(FEEDER)) $(BUILD)/everything.a
	$(CC) $(LDFLAGS) $(filter -f%,$(FEEDER)) -o $@ $^ $(LIBS.gateway) $(LIBS.login) $(LIBS.db) $(LIBS.common)

$(BUILD)/tests/bench/load: $(filter-out %/ceiling.o %/hashes.o,$(call objects,$(wildcard tests/bench/*.c)))
	$(CC) $(LDFLAGS) -o $@ $^ -ljansson -lsodium

$(BUILD)/tests/bench/ceiling: $(BUILD)/tests/bench/ceiling.o
	$(CC) $(LDFLAGS) -o $@ $^

$(BUILD)/tests/bench/hashes: $(BUILD)/tests/bench/hashes.o $(BUILD)/tests/bench/process.o
	$(CC) $(LDFLAGS) -o $@ $^ -lsodium

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

format-check:
	clang-format --dry-run -Werror $$(git ls-files '*.c' '*.h')

clean:
	rm -rf build

.PHONY: all unit fuzz bench format-check clean
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
