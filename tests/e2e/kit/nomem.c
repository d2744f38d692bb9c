/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For LD_PRELOAD: allocations of the program fail as the file $NOMEM says, which the test writes while the program
 * runs (kit/nomem.py). Only those whose caller can go on without memory: librdkafka and libstdc++ end the process,
 * whoever uses them. With $NOMEM_TRACE each is told, with its callers.
 */
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* glibc's own */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

struct control {
	uint64_t seed;
	uint64_t every, after; /* one in so many fails, drawn by seed, after so many; 0: none */
	uint64_t first, count; /* or the first-th and so many from there on */
	uint64_t asked, failed; /* so far; the test reads them */
};

enum { RANGES_MAX = 64, DEPTH_MAX = 32 };

/* Code of an object */
struct range {
	uintptr_t from, to;
	enum {
		OTHER,
		MAY_FAIL,
		ASK_CALLER
	} kind; /* the latter: libc, which works for whoever called it */
};

static struct range ranges[RANGES_MAX];
static size_t n_ranges;
static struct control *control;
static __thread bool inside;

static int kind_of(const char *name)
{
	static const char *const may_fail[] = {"libnghttp2", "libjansson", "libzstd", "libyaml",
					       "libprotobuf-c"};
	if (!*name)
		return MAY_FAIL; /* the program */
	for (size_t i = 0; i < sizeof(may_fail) / sizeof(*may_fail); i++)
		if (strstr(name, may_fail[i]))
			return MAY_FAIL;
	return strstr(name, "libc.so") ? ASK_CALLER : OTHER;
}

static int add_object(struct dl_phdr_info *info, size_t size, void *ctx)
{
	(void)size;
	(void)ctx;
	for (int i = 0; i < info->dlpi_phnum && n_ranges < RANGES_MAX; i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];
		if (h->p_type != PT_LOAD || !(h->p_flags & PF_X))
			continue;
		uintptr_t from = info->dlpi_addr + h->p_vaddr;
		ranges[n_ranges++] =
			(struct range) {from, from + h->p_memsz, kind_of(info->dlpi_name)};
	}
	return 0;
}

static int kind_at(const void *code)
{
	for (size_t i = 0; i < n_ranges; i++)
		if ((uintptr_t)code >= ranges[i].from && (uintptr_t)code < ranges[i].to)
			return ranges[i].kind;
	return OTHER;
}

/* For whom libc allocates: the first frame above it */
static bool caller_may_fail(void)
{
	void *frames[DEPTH_MAX];
	bool in_libc = false;
	int n = backtrace(frames, DEPTH_MAX);
	for (int i = 0; i < n; i++) {
		int kind = kind_at(frames[i]);
		if (in_libc && kind != ASK_CALLER)
			return kind == MAY_FAIL;
		in_libc |= kind == ASK_CALLER;
	}
	return false;
}

/* splitmix64 */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static bool fails(const void *caller)
{
	if (!control || inside)
		return false;
	int kind = kind_at(caller);
	if (kind == OTHER)
		return false;
	uint64_t n = __atomic_add_fetch(&control->asked, 1, __ATOMIC_RELAXED);
	uint64_t every = __atomic_load_n(&control->every, __ATOMIC_RELAXED);
	bool hit = control->first
			   ? n - control->first < control->count
			   : every && n > control->after && mix(control->seed + n) % every == 0;
	if (!hit)
		return false;
	inside = true;
	hit = kind == MAY_FAIL || caller_may_fail();
	inside = false;
	if (hit) {
		__atomic_add_fetch(&control->failed, 1, __ATOMIC_RELAXED);
		if (getenv("NOMEM_TRACE")) {
			void *at[DEPTH_MAX];
			inside = true;
			backtrace_symbols_fd(at, backtrace(at, DEPTH_MAX), 2);
			inside = false;
		}
		errno = ENOMEM;
	}
	return hit;
}

void *malloc(size_t n)
{
	return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return n && fails(__builtin_return_address(0)) ? NULL : __libc_realloc(p, n);
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("NOMEM");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	void *p = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return;
	void *frame[1];
	backtrace(frame, 1); /* loads the unwinder, which allocates */
	dl_iterate_phdr(add_object, NULL);
	control = p;
}
