/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "capture/pipeline_state.h"

static const struct attach_ops *const attach_order[] = {&attach_cgroup, &attach_socket,
							&attach_pcap};
enum { ATTACH_N = sizeof(attach_order) / sizeof(attach_order[0]) };

static struct attach_cfg attach_cfg_of(struct pipeline *p, const char *spec)
{
	const struct settings *s = p->s;
	struct attach_cfg cfg = {.spec = spec,
				 .read_file = s->read_file,
				 .ports = s->ports,
				 .n_ports = s->n_ports,
				 .any_interface = s->any_interface,
				 .keep_below = p->keep_below,
				 .head_bytes = 1024,
				 .hot_bytes = s->hot_ring_bytes,
				 .overflow_bytes = s->overflow_ring_bytes,
				 .on_packet = pipeline_packet,
				 .ctx = p};
	cfg.hash_seed = (uint32_t)hash_bytes(hash_key_of(2), bytes_of(p->instance, 16));
	return cfg;
}

static void own_ports_tell(struct pipeline *p)
{
	for (unsigned port = 1; p->ops->own_port && port < 65536; port++)
		if (atomic_load(&p->own[port >> 6]) >> (port & 63) & 1)
			p->ops->own_port(p->attach, (uint16_t)port, true);
}

static int attach_open(struct pipeline *p, const struct attach_ops *ops, const char *spec,
		       char *why, size_t why_n)
{
	struct attach_cfg cfg = attach_cfg_of(p, spec);
	int r = ops->probe(&cfg, why, why_n);
	if (r < 0)
		return r;
	struct attach *a = ops->open(&cfg, why, why_n);
	if (!a)
		return -EIO;
	p->ops = ops;
	__atomic_store_n(&p->attach, a, __ATOMIC_RELEASE);
	own_ports_tell(p);
	flow_mute_again(p->flows);
	struct epoll_event e = {.events = EPOLLIN, .data.fd = ops->fd(a)};
	if (e.data.fd >= 0)
		epoll_ctl(p->ep_sleep, EPOLL_CTL_ADD, e.data.fd, &e);
	recorder_set_attach(p->recorder, ops->name);
	p->last_busy_ns = clock_ns(CLOCK_MONOTONIC);
	p->attached_unix_ns = clock_ns(CLOCK_REALTIME);
	p->attachments++;
	if (!p->from_file)
		log_info("attached: %s", ops->describe(a));
	if (p->cfg.attached)
		p->cfg.attached(p->cfg.ctx, p);
	return 0;
}

int pipeline_attach(struct pipeline *p, const struct attach_ops *after, char *err, size_t err_n)
{
	const char *want = p->from_file ? "pcap" : p->s->attach;
	bool any = strcmp(want, "auto") == 0, skip = after != NULL;
	size_t n = 0;
	err[0] = 0;
	for (int i = 0; i < ATTACH_N; i++) {
		const struct attach_ops *ops = attach_order[i];
		size_t len = strlen(ops->name);
		char why[512] = "";
		if (skip) {
			skip = ops != after;
			continue;
		}
		if (!any && (strncmp(want, ops->name, len) != 0 || (want[len] && want[len] != ':')))
			continue;
		const char *spec = !any && want[len] == ':' ? want + len + 1 : NULL;
		if (attach_open(p, ops, spec, why, sizeof(why)) == 0) {
			for (char *rest = err, *line; any && (line = strsep(&rest, "\n"));)
				if (*line)
					log_info("passed over: %s", line);
			return 0;
		}
		n += (size_t)snprintf(err + n, n < err_n ? err_n - n : 0, "%s%s: %s", n ? "\n" : "",
				      ops->name, why);
		if (n >= err_n)
			n = err_n - 1;
	}
	return -ENOTSUP;
}

void pipeline_detach(struct pipeline *p)
{
	struct ledger_stage stages[PIPELINE_STAGES_MAX];
	pipeline_govern_detaching(p);
	p->ops->detach(p->attach);
	for (int i = 0; i < 64 && p->ops->drain(p->attach, 4096) == ATTACH_MORE; i++)
		;
	size_t n = p->ops->ledger(p->attach, stages, PIPELINE_STAGES_MAX);
	for (size_t i = 0; i < n; i++)
		pipeline_keep_stage(p, &stages[i]);
	struct attach *a = p->attach;
	int fd = p->ops->fd(a);
	if (fd >= 0)
		epoll_ctl(p->ep_sleep, EPOLL_CTL_DEL, fd, NULL);
	__atomic_store_n(&p->attach, NULL, __ATOMIC_RELEASE);
	p->ops->close(a);
}

void pipeline_attach_next(struct pipeline *p)
{
	const struct attach_ops *was = p->ops;
	char err[2048];
	pipeline_detach(p);
	if (pipeline_attach(p, was, err, sizeof(err)) < 0 &&
	    (p->attach || pipeline_attach(p, NULL, err, sizeof(err)) < 0))
		log_warn("no other back end can attach: %s", err);
}
