/* SPDX-License-Identifier: Apache-2.0 */
/* The same facts for scripts. Every text was escaped when it was read, so it is UTF-8. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/version.h"
#include "cli/doctor.h"

static json_t *host(const struct doctor_host *h)
{
	json_t *caps = json_object();
	for (size_t i = 0; i < DOCTOR_CAPS; i++)
		json_object_set_new(caps, doctor_caps[i].name,
				    json_boolean(doctor_has_cap(h, doctor_caps[i].number)));
	return json_pack(
		"{s:s, s:s, s:b, s:b, s:i, s:i, s:b, s:o, s:I, s:s, s:s}", "release", h->release,
		"machine", h->machine, "kernel_ok", !doctor_kernel_before(h, 5, 8), "btf", h->btf,
		"uid", (int)h->uid, "seccomp", h->seccomp, "no_new_privs", h->no_new_privs,
		"capabilities", caps, "memlock_bytes",
		(json_int_t)(h->memlock_bytes > INT64_MAX ? -1 : (int64_t)h->memlock_bytes),
		"cgroup2", h->cgroup2, "own_cgroup", h->own_cgroup);
}

static json_t *pod(const struct doctor_pod *p)
{
	return json_pack("{s:b, s:s, s:i, s:i, s:i, s:i}", "kubernetes", p->kubernetes,
			 "first_process", p->first_process, "processes", (int)p->processes,
			 "same_network", (int)p->same_network, "other_cgroup", (int)p->other_cgroup,
			 "reachable", (int)p->reachable);
}

static json_t *attach(const struct doctor *d)
{
	json_t *all = json_array();
	for (size_t i = 0; i < DOCTOR_BACK_ENDS; i++) {
		const struct doctor_attach *a = &d->attach[i];
		json_array_append_new(all,
				      json_pack("{s:s, s:b, s:b, s:s}", "name", a->name, "works",
						a->works, "exact", a->exact, "why", a->why));
	}
	return all;
}

static json_t *ports(const struct doctor_traffic *t)
{
	json_t *all = json_array();
	for (size_t i = 0; i < t->n_ports; i++) {
		const struct doctor_port *p = &t->ports[i];
		json_array_append_new(all, json_pack("{s:i, s:s, s:i, s:I, s:i}", "port",
						     (int)p->port, "process", p->process,
						     "loopback_connections", (int)p->connections,
						     "loopback_bytes", (json_int_t)p->bytes,
						     "outside_connections", (int)p->outside));
	}
	return all;
}

static json_t *unix_use(const struct snapshot_unix *u)
{
	json_t *paths = json_array();
	for (size_t i = 0; i < SNAPSHOT_UNIX_TOP && u->top[i].n; i++)
		json_array_append_new(paths, json_pack("{s:s, s:i}", "path", u->top[i].path,
						       "connections", (int)u->top[i].n));
	return json_pack("{s:i, s:o}", "connections", (int)(u->connected / 2), "top", paths);
}

static json_t *strings(const struct doctor *d)
{
	json_t *all = json_array();
	for (size_t i = 0; i < d->n_advice; i++)
		json_array_append_new(all, json_string(d->advice[i]));
	return all;
}

int doctor_print_json(const struct doctor *d, FILE *out)
{
	const struct doctor_attach *choice = doctor_choice(d);
	const struct doctor_traffic *t = &d->traffic;
	json_t *root = json_pack(
		"{s:s, s:o, s:o, s:o, s:s?, s:o, s:I, s:i, s:o, s:o, s:o}", "version",
		SIDETAP_VERSION, "host", host(&d->host), "pod", pod(&d->pod), "attach", attach(d),
		"choice", choice ? choice->name : NULL, "ports", ports(t), "more_ports",
		(json_int_t)t->more_ports, "silent_connections", (int)t->silent, "unix",
		unix_use(&t->unix_use), "sockmaps",
		t->sockmaps < 0 ? json_null() : json_integer(t->sockmaps), "to_change", strings(d));
	if (root && d->kafka.asked)
		json_object_set_new(
			root, "kafka",
			json_pack("{s:b, s:s}", "ok", d->kafka.ok, "text", d->kafka.text));
	int rc = root && json_dumpf(root, out, JSON_INDENT(2)) == 0 ? 0 : -ENOMEM;
	json_decref(root);
	fputc('\n', out);
	return rc;
}
