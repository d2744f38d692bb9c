/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/remains.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "capture/remains_page.h"

struct remains {
	struct remains_page *page;
	char path[512];
};

static uint64_t numbers_of(uint64_t spool_bytes)
{
	uint64_t n = REMAINS_NUMBERS_MIN;
	while (n < spool_bytes / REMAINS_RECORD_BYTES && n < REMAINS_NUMBERS_MAX)
		n *= 2;
	return n;
}

uint64_t remains_bytes(uint64_t spool_bytes)
{
	return (REMAINS_KEPT + 2) * remains_size(numbers_of(spool_bytes));
}

struct remains *remains_open(const char *dir, const char *instance, uint64_t spool_bytes, char *err,
			     size_t err_n)
{
	struct remains *m = calloc(1, sizeof(*m));
	uint64_t numbers = numbers_of(spool_bytes);
	if (!m)
		return NULL;
	snprintf(m->path, sizeof(m->path), "%.400s/" REMAINS_PREFIX "%.16s" REMAINS_SUFFIX, dir,
		 instance);
	int fd = open(m->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int e = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)remains_size(numbers));
	void *p = e ? MAP_FAILED
		    : mmap(NULL, remains_size(numbers), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (!e && p == MAP_FAILED)
		e = errno;
	if (fd >= 0)
		close(fd);
	if (e) {
		snprintf(err, err_n, "%.200s: %s: a kill would cost the ledger", m->path,
			 strerror(e));
		if (fd >= 0)
			unlink(m->path);
		free(m);
		return NULL;
	}
	m->page = p;
	m->page->numbers = numbers;
	m->page->alive_unix_ns = clock_ns(CLOCK_REALTIME);
	memcpy(m->page->magic, remains_magic, sizeof(remains_magic));
	return m;
}

/* A number that is too old is settled, and its place another's. */
static void fate_set(struct remains_page *p, uint64_t number, unsigned fate)
{
	if (number && p->made - number < p->numbers)
		p->fate[number & (p->numbers - 1)] = (uint8_t)fate;
}

void remains_made(struct remains *m, uint64_t number)
{
	if (!m)
		return;
	m->page->fate[number & (m->page->numbers - 1)] = REMAINS_MADE;
	__atomic_store_n(&m->page->made, number, __ATOMIC_RELEASE);
}

void remains_stored(struct remains *m, uint64_t number)
{
	if (m)
		fate_set(m->page, number, REMAINS_STORED);
}

/* Its place in the table; the last is for all that have none. */
static unsigned exit_of(struct remains_page *p, const char *exit)
{
	unsigned i = 0;
	while (i < REMAINS_EXITS - 1 && p->exits[i].name[0] &&
	       strncmp(p->exits[i].name, exit, sizeof(p->exits[i].name) - 1) != 0)
		i++;
	if (!p->exits[i].name[0])
		strncpy(p->exits[i].name, exit, sizeof(p->exits[i].name) - 1);
	return i;
}

/* What it was put into the spool for is told by the process that does it, at its end: here it is as stored. */
void remains_settled(struct remains *m, uint64_t number, const char *exit)
{
	if (!m || !number)
		return;
	if (!exit) {
		fate_set(m->page, number, REMAINS_DELIVERED);
	} else if (strcmp(exit, "spooled") == 0) {
		fate_set(m->page, number, REMAINS_STORED);
	} else {
		unsigned i = exit_of(m->page, exit);
		m->page->exits[i].n++;
		fate_set(m->page, number, REMAINS_LOST + i);
	}
}

void remains_ledger(struct remains *m, struct bytes encoded)
{
	if (!m || encoded.n > REMAINS_LEDGER_MAX)
		return;
	uint32_t to = !m->page->ledger;
	memcpy(m->page->ledgers[to], encoded.p, encoded.n);
	m->page->ledger_n[to] = (uint32_t)encoded.n;
	__atomic_store_n(&m->page->ledger, to, __ATOMIC_RELEASE);
	m->page->alive_unix_ns = clock_ns(CLOCK_REALTIME);
}

void remains_close(struct remains *m, bool told)
{
	if (!m)
		return;
	if (told)
		unlink(m->path);
	munmap(m->page, remains_size(m->page->numbers));
	free(m);
}
