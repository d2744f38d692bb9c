/* SPDX-License-Identifier: Apache-2.0 */
/* Who talks over loopback, and what packets do not show: UNIX sockets, sockmaps. */
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/doctor.h"

enum { BPF_MAPS_MAX = 20000 };

static int bpf(int command, union bpf_attr *attr)
{
	long rc = syscall(SYS_bpf, command, attr, sizeof(*attr));
	return rc < 0 ? -errno : (int)rc;
}

static int map_type(uint32_t id)
{
	struct bpf_map_info info = {0};
	union bpf_attr attr = {.map_id = id};
	int fd = bpf(BPF_MAP_GET_FD_BY_ID, &attr);
	if (fd < 0)
		return fd;
	attr = (union bpf_attr) {0};
	attr.info.bpf_fd = (uint32_t)fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = (uint64_t)(uintptr_t)&info;
	int rc = bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
	close(fd);
	return rc < 0 ? rc : (int)info.type;
}

/* Number of sockmaps of this kernel, -EPERM without CAP_SYS_ADMIN */
static int sockmaps(void)
{
	uint32_t id = 0;
	int n = 0;
	for (unsigned i = 0; i < BPF_MAPS_MAX; i++) {
		union bpf_attr attr = {.start_id = id};
		int rc = bpf(BPF_MAP_GET_NEXT_ID, &attr);
		if (rc == -ENOENT)
			break;
		if (rc < 0)
			return rc;
		id = attr.next_id;
		int type = map_type(id);
		n += type == BPF_MAP_TYPE_SOCKMAP || type == BPF_MAP_TYPE_SOCKHASH;
	}
	return n;
}

static int busiest(const void *a, const void *b)
{
	const struct doctor_port *x = a, *y = b;
	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	if (x->connections != y->connections)
		return x->connections < y->connections ? 1 : -1;
	return (int)x->port - (int)y->port;
}

static void count(const struct snapshot *s, struct doctor_traffic *t, struct doctor_port *ports)
{
	for (size_t i = 0; i < s->n_rows; i++) {
		const struct snapshot_row *r = &s->rows[i];
		const struct snapshot_listen *l = r->server ? snapshot_listen(s, r->port) : NULL;
		if (!l || r->own || r->state == SOCKS_TIME_WAIT)
			continue;
		struct doctor_port *p = &ports[l - s->listens];
		if (!r->local) {
			p->outside += r->state == SOCKS_ESTABLISHED;
			continue;
		}
		p->bytes += r->bytes;
		p->connections += r->state == SOCKS_ESTABLISHED;
		t->silent += r->state == SOCKS_ESTABLISHED && r->has_bytes && r->bytes == 0;
	}
}

static int ports_of(const struct snapshot *s, struct doctor_traffic *t, struct socks *socks)
{
	struct doctor_port *ports = calloc(s->n_listens + 1, sizeof(*ports));
	if (!ports)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_listens; i++)
		ports[i].port = s->listens[i].port;
	count(s, t, ports);
	qsort(ports, s->n_listens, sizeof(*ports), busiest);
	t->n_ports = s->n_listens < DOCTOR_PORTS ? s->n_listens : DOCTOR_PORTS;
	t->more_ports = s->n_listens - t->n_ports;
	memcpy(t->ports, ports, t->n_ports * sizeof(*ports));
	free(ports);
	for (size_t i = 0; i < t->n_ports; i++)
		snapshot_owner(socks, snapshot_listen(s, t->ports[i].port)->inode,
			       t->ports[i].process, sizeof(t->ports[i].process));
	return 0;
}

void doctor_look_traffic(struct doctor_traffic *t)
{
	struct snapshot s = {0};
	*t = (struct doctor_traffic) {.sockmaps = sockmaps()};
	snapshot_unix(&t->unix_use);
	struct socks *socks = socks_new();
	int rc = socks ? snapshot_take(&s, socks) : -errno;
	if (rc == 0) {
		rc = ports_of(&s, t, socks);
		snapshot_fini(&s);
	}
	t->known = rc == 0;
	if (rc < 0)
		snprintf(t->why, sizeof(t->why), "sock_diag: %s", strerror(-rc));
	socks_free(socks);
}
