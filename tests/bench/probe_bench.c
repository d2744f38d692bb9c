/* SPDX-License-Identifier: Apache-2.0 */
/* Nanoseconds of the probe's programs per packet (BPF_STATS_RUN_TIME) for exchanges over lo. Needs
 * root. */
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "capture/attach.h"
#include "tests/unit/netrig.h"

struct cost {
	char name[BPF_OBJ_NAME_LEN];
	uint64_t ns, runs;
};

static uint64_t events;

static void on_packet(void *ctx, const struct packet *p)
{
	(void)ctx, (void)p;
	events++;
}

/* Programs of this probe that ran, newest last. */
static size_t costs(struct cost *out, size_t max)
{
	uint32_t id = 0;
	size_t n = 0;

	while (n < max && bpf_prog_get_next_id(id, &id) == 0) {
		struct bpf_prog_info info = {0};
		uint32_t len = sizeof(info);
		int fd = bpf_prog_get_fd_by_id(id);
		if (fd < 0)
			continue;
		if (bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.run_cnt) {
			memcpy(out[n].name, info.name, sizeof(out[n].name));
			out[n].ns = info.run_time_ns;
			out[n++].runs = info.run_cnt;
		}
		close(fd);
	}
	return n;
}

static void measure(const struct attach_ops *ops, const char *spec, const char *title,
		    uint32_t reply, bool all)
{
	const uint16_t port = 8080;
	char err[300];
	struct attach_cfg cfg = {.spec = spec,
				 .ports = &port,
				 .n_ports = all ? 0 : 1,
				 .keep_below = 1ull << 32,
				 .hash_seed = 1,
				 .on_packet = on_packet};
	struct netrig_talk t = {.calls = 40000,
				.request = 100,
				.reply = reply,
				.port = port,
				.server_cgroup = spec,
				.client_cgroup = spec};
	struct attach *a = ops->open(&cfg, err, sizeof(err));
	struct netrig_run r;
	struct cost c[64];
	struct epoll_event ev;
	bool ok = true;

	if (!a) {
		printf("%s: %s\n", title, err);
		return;
	}
	events = 0;
	int stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
	if (netrig_start(&r, &t) != 0)
		return;
	while (!netrig_done(&r, &ok)) /* polled every millisecond, as the loop does */
		if (ops->drain(a, 256) == ATTACH_EMPTY)
			epoll_wait(ops->fd(a), &ev, 1, 1);
	netrig_stop(&r);
	size_t n = costs(c, 64);
	for (size_t i = 0; i < n; i++)
		printf("%-22s %6u %-16s %5llu ns/packet, %llu packets\n", title, reply, c[i].name,
		       (unsigned long long)(c[i].ns / c[i].runs), (unsigned long long)c[i].runs);
	printf("%-22s %6u events %llu%s\n", title, reply, (unsigned long long)events,
	       ok ? "" : " (service failed)");
	if (stats >= 0)
		close(stats);
	ops->close(a);
}

int main(void)
{
	char group[300];

	if (geteuid() != 0 || netrig_netns() != 0 ||
	    netrig_cgroup(NULL, "bench", group, sizeof(group)) != 0) {
		printf("SKIP: needs root and cgroup v2\n");
		return 0;
	}
	for (uint32_t reply = 1024; reply <= 16384; reply *= 16) {
		measure(&attach_cgroup, NULL, "cgroup root", reply, false);
		measure(&attach_cgroup, NULL, "cgroup root, all ports", reply, true);
		measure(&attach_cgroup, group, "cgroup, two hooks", reply, false);
		measure(&attach_socket, NULL, "socket", reply, false);
	}
	netrig_cgroup_remove(group);
	return 0;
}
