/* SPDX-License-Identifier: Apache-2.0 */
/* The table of options, in the order of --help, and what goes over the whole of it. */
#include "capture/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/nearest.h"
#include "capture/settings_table.h"

#define AT(field) offsetof(struct settings, field)
#define MIB       (1ull << 20)
#define SECOND    1000000000ull

/* clang-format off */
const struct option settings_options[] = {
	{.group = "What to capture",
	 .letter = 'p', .name = "port", .kind = OPTION_PORTS, .offset = AT(ports),
	 .arg = "LIST", .initial = "all",
	 .help = "ports of the proxy or service, either end (80,8080-8090; default: all)"},
	{.name = "interface", .kind = OPTION_INTERFACE, .offset = AT(any_interface),
	 .arg = "lo|any", .initial = "lo",
	 .help = "loopback only, or every interface"},
	{.letter = 'a', .name = "attach", .kind = OPTION_ATTACH, .offset = AT(attach),
	 .arg = "HOW", .initial = "auto",
	 .help = "auto, cgroup[:DIR|:pid:N][,...], socket[:IFACE], pcap[:IFACE]"},
	{.letter = 'r', .name = "read", .kind = OPTION_STRING, .offset = AT(read_file),
	 .arg = "FILE",
	 .help = "read a pcap or pcapng file in place of attaching, - is stdin"},

	{.group = "Where it goes",
	 .letter = 'o', .name = "sink", .kind = OPTION_SINK, .offset = AT(sink),
	 .arg = "URI", .initial = "print:",
	 .help = "kafka://HOST:PORT[,...]/TOPIC[?property=value&...], kafka:embedded,\n"
		 "file:DIR, print: (one line a call), null:"},
	{.name = "spool", .kind = OPTION_STRING, .offset = AT(spool), .arg = "DIR",
	 .help = "keep what Kafka does not take; sent later, also by the next run"},
	{.name = "spool-size", .kind = OPTION_BYTES, .offset = AT(spool_bytes),
	 .arg = "SIZE", .initial = "256MiB", .min = MIB, .max = 1024 * 1024 * MIB,
	 .help = "of all its files; then the oldest leave, by name (default: 256MiB)"},
	{.letter = 'v', .name = "verbose", .live = true, .kind = OPTION_COUNTED, .offset = AT(verbose),
	 .help = "print: headers too; -vv: say more on stderr"},
	{.letter = 'x', .name = "bodies", .kind = OPTION_BOOL, .offset = AT(bodies),
	 .help = "print: bodies too, escaped"},
	{.letter = 'q', .name = "quiet", .live = true, .kind = OPTION_BOOL, .offset = AT(quiet),
	 .help = "no progress, no summary"},
	{.name = "redact", .live = true, .kind = OPTION_BOOL, .offset = AT(redact), .negative = true,
	 .help = "keep secrets as they were, also what the file's redact: rules name"},

	{.group = "How much",
	 .letter = 's', .name = "sample", .live = true, .kind = OPTION_SHARE, .offset = AT(sample),
	 .arg = "SHARE", .initial = "1",
	 .help = "of the calls, 10% or 0.1; all are seen and counted (default: all)"},
	{.name = "connections", .live = true, .kind = OPTION_SHARE, .offset = AT(connections),
	 .arg = "SHARE", .initial = "1",
	 .help = "of the connections, decided in the kernel (default: all)"},
	{.name = "rules", .live = true, .kind = OPTION_RULES, .file_only = true},
	{.name = "proxy-port", .live = true, .kind = OPTION_PORTS, .offset = AT(proxy_ports),
	 .arg = "LIST",
	 .help = "ports of the proxy: a call to one is outbound, for `side` in rules"},
	{.name = "limit", .live = true, .kind = OPTION_LIMIT, .offset = AT(limit_calls),
	 .arg = "calls=N,bytes=SIZE,time=T",
	 .help = "stop by itself; with --idle stay, attached to nothing"},
	{.name = "budget", .kind = OPTION_GROUP, .file_only = true},
	{.name = "budget-cpu", .live = true, .kind = OPTION_SHARE, .offset = AT(budget_cpu),
	 .arg = "SHARE", .initial = "0",
	 .help = "of one CPU, all in all: over it less is captured, step by step"},
	{.name = "budget-memory", .live = true, .kind = OPTION_BYTES, .offset = AT(budget_memory),
	 .arg = "SIZE", .initial = "0", .max = 1024 * 1024 * MIB,
	 .help = "of memory, rings apart; 0: no budget (default)"},
	{.name = "body-limit", .live = true, .kind = OPTION_BYTES, .offset = AT(body_limit),
	 .arg = "SIZE", .initial = "1MiB", .max = UINT64_MAX,
	 .help = "kept of each message's body, or none: no limit (default: 1MiB)"},
	{.name = "opaque-head", .live = true, .kind = OPTION_BYTES, .offset = AT(opaque_head),
	 .arg = "SIZE", .initial = "0", .max = 65536,
	 .help = "kept, raw, of each side of what is opaque (default: 0)"},
	{.name = "call-timeout", .live = true, .kind = OPTION_DURATION, .offset = AT(call_timeout_ns),
	 .arg = "T", .initial = "60s",
	 .min = SECOND / 100, .max = 86400 * SECOND,
	 .help = "a call without an answer ends after T (default: 60s)"},

	{.group = "Running",
	 .letter = 'c', .name = "config", .kind = OPTION_STRING, .offset = AT(config_file),
	 .arg = "FILE", .flag_only = true,
	 .help = "YAML, keys are the long names here; flags win"},
	{.name = "check", .kind = OPTION_BOOL, .offset = AT(check_only), .flag_only = true,
	 .help = "check flags and file, show the values in force with -v, exit"},
	{.name = "idle", .kind = OPTION_BOOL, .offset = AT(idle),
	 .help = "cannot attach: stay, say why, try again, in place of exit 3"},
	{.name = "reattach", .kind = OPTION_BOOL, .offset = AT(reattach), .negative = true,
	 .help = "end when what it was attached to is gone"},
	{.name = "ready-file", .kind = OPTION_STRING, .offset = AT(ready_file), .arg = "FILE",
	 .help = "create FILE once attached and mirroring"},
	{.name = "service-name", .kind = OPTION_STRING, .offset = AT(service_name),
	 .arg = "NAME", .env = "SIDETAP_SERVICE_NAME",
	 .help = "in each record, as --pod, --namespace, --container ($SIDETAP_POD ...)"},
	{.name = "pod", .kind = OPTION_STRING, .offset = AT(pod),
	 .arg = "NAME", .env = "SIDETAP_POD"},
	{.name = "namespace", .kind = OPTION_STRING, .offset = AT(namespace_),
	 .arg = "NAME", .env = "SIDETAP_NAMESPACE"},
	{.name = "container", .kind = OPTION_STRING, .offset = AT(container),
	 .arg = "NAME", .env = "SIDETAP_CONTAINER"},
	{.name = "socket", .kind = OPTION_STRING, .offset = AT(socket), .arg = "PATH",
	 .help = "of `sidetap ctl`, none: no (default: /run/sidetap/PID.sock)"},
	{.name = "metrics", .kind = OPTION_LISTEN, .offset = AT(metrics),
	 .arg = "ADDR:PORT",
	 .help = "or unix:PATH: serves /metrics, /healthz, /readyz (default: no)"},
	{.name = "log-format", .live = true, .kind = OPTION_CHOICE, .offset = AT(log_format),
	 .arg = "plain|logfmt|json", .initial = "plain",
	 .help = "of the lines on stderr"},
	{.name = "priority", .kind = OPTION_CHOICE, .offset = AT(priority),
	 .arg = "normal|low|idle", .initial = "normal",
	 .help = "of its threads: low is nice 10, idle takes what others leave"},
	{.name = "sandbox", .kind = OPTION_BOOL, .offset = AT(sandbox), .negative = true,
	 .help = "no seccomp, no Landlock"},
	{.letter = 'h', .name = "help", .kind = OPTION_ACTION, .help = "this text"},
	{.name = "version", .kind = OPTION_ACTION},

	{.group = "Bounds",
	 .name = "ledger-interval", .live = true, .kind = OPTION_DURATION, .offset = AT(ledger_interval_ns),
	 .arg = "T", .initial = "10s",
	 .min = SECOND / 10, .max = 3600 * SECOND,
	 .help = "between two Ledger records (default: 10s)"},
	{.name = "ring-size", .kind = OPTION_RING, .offset = AT(hot_ring_bytes),
	 .arg = "HOT[,OVERFLOW]", .initial = "4MiB,32MiB",
	 .min = 4096, .max = 1024 * MIB, .help = "powers of two (default: 4MiB,32MiB)"},
	{.name = "max-connections", .kind = OPTION_NUMBER, .offset = AT(max_connections),
	 .arg = "N", .initial = "65536", .min = 1,
	 .max = 1 << 20, .help = "the least recently used leaves first (default: 65536)"},
	{.name = "pending-limit", .kind = OPTION_PAIR, .offset = AT(pending_connection_bytes),
	 .arg = "ONE[,ALL]", .initial = "1MiB,16MiB",
	 .min = 4096, .max = 4096 * MIB,
	 .help = "out of order, per connection, in all (default: 1MiB,16MiB)"},
	{.name = "open-bodies", .live = true, .kind = OPTION_BYTES, .offset = AT(open_bodies_bytes),
	 .arg = "SIZE", .initial = "16MiB", .min = 4096,
	 .max = 4096 * MIB,
	 .help = "of all calls not yet ended (default: 16MiB)"},
	{.name = "header-limit", .kind = OPTION_BYTES, .offset = AT(header_bytes),
	 .arg = "SIZE", .initial = "64KiB", .min = 256,
	 .max = 16 * MIB, .help = "of one header block (default: 64KiB)"},
	{.name = "header-count", .kind = OPTION_NUMBER, .offset = AT(header_count),
	 .arg = "N", .initial = "256", .min = 1,
	 .max = 65536, .help = "headers of one message (default: 256)"},
	{.name = "max-streams", .kind = OPTION_NUMBER, .offset = AT(max_streams),
	 .arg = "N", .initial = "1024", .min = 1,
	 .max = 65536, .help = "open streams of one connection (default: 1024)"},
	{.name = "part-messages", .live = true, .kind = OPTION_NUMBER, .offset = AT(part_messages),
	 .arg = "N", .initial = "1000", .min = 1,
	 .max = 100000, .help = "a stream leaves in parts of so many messages (default: 1000)"},
	{.name = "part-time", .live = true, .kind = OPTION_DURATION, .offset = AT(part_ns),
	 .arg = "T", .initial = "10s", .min = SECOND / 10, .max = 3600 * SECOND,
	 .help = "or of so long (default: 10s)"},
};
/* clang-format on */
const size_t settings_n_options = sizeof(settings_options) / sizeof(*settings_options);
_Static_assert(sizeof(settings_options) / sizeof(*settings_options) <= 64, "flag_set has 64 bits");
_Static_assert(AT(n_ports) == AT(ports) + SETTINGS_PORTS_MAX * 2 &&
		       AT(n_proxy_ports) == AT(proxy_ports) + SETTINGS_PORTS_MAX * 2,
	       "OPTION_PORTS sets both");
_Static_assert(AT(overflow_ring_bytes) == AT(hot_ring_bytes) + 8, "OPTION_RING sets both");
_Static_assert(AT(pending_bytes) == AT(pending_connection_bytes) + 8, "OPTION_PAIR sets both");

#define for_each_option(o)                                                                         \
	for (const struct option *o = settings_options; o < settings_options + settings_n_options; \
	     o++)

/* Where an option keeps its malloc'ed text; NULL: it has none. */
static char **text_of(struct settings *s, const struct option *o)
{
	return option_is_text(o) ? (char **)((char *)s + o->offset) : NULL;
}

void settings_init(struct settings *s)
{
	*s = (struct settings) {0};
	for_each_option(o) if (o->kind != OPTION_ACTION) option_reset(s, o);
}

void settings_fini(struct settings *s)
{
	for_each_option(o)
	{
		char **text = text_of(s, o);
		if (text)
			free(*text);
	}
	settings_rules_fini(s);
	redact_rules_fini(&s->redact_rules);
	*s = (struct settings) {0};
}

int settings_copy(struct settings *to, const struct settings *from)
{
	*to = *from;
	bool failed = redact_rules_copy(&to->redact_rules, &from->redact_rules) < 0;
	for_each_option(o)
	{
		char **text = text_of(to, o);
		if (text && *text && !(*text = failed ? NULL : strdup(*text)))
			failed = true;
	}
	failed |= settings_rules_copy(to, from) < 0;
	if (!failed)
		return 0;
	settings_fini(to);
	return -ENOMEM;
}

bool settings_has_spool(const struct settings *s)
{
	return s->spool && s->spool[0] && strncmp(s->sink, "kafka:", 6) == 0;
}

const struct option *settings_find(struct bytes name, bool *on)
{
	*on = true;
	for_each_option(o)
	{
		if (bytes_eq(name, bytes_str(o->name)))
			return o;
		if (o->kind == OPTION_BOOL && bytes_starts(name, BYTES("no-")) &&
		    bytes_eq(bytes_from(name, 3), bytes_str(o->name))) {
			*on = false;
			return o;
		}
	}
	return NULL;
}

const char *settings_nearest(const char *name, bool keys_only)
{
	static const char *const negatives[] = {"no-redact", "no-reattach", "no-sandbox"};
	const char *names[64 + 3];
	size_t n = 0;
	for_each_option(o)
	{
		bool key = o->kind != OPTION_ACTION && !o->flag_only;
		if (keys_only ? key : !o->file_only)
			names[n++] = o->name;
	}
	for (size_t i = 0; i < 3; i++)
		names[n++] = negatives[i];
	int found = nearest_name(name, names, n);
	return found < 0 ? NULL : names[found];
}

void settings_print(const struct settings *s, FILE *out)
{
	for_each_option(o)
	{
		char *text = NULL;
		size_t n = 0;
		FILE *f =
			o->kind == OPTION_ACTION || o->flag_only ? NULL : open_memstream(&text, &n);
		if (!f)
			continue;
		option_print(s, o, f);
		if (fclose(f) == 0 && n && strcmp(text, "''") != 0)
			fprintf(out, "%s:%s%s\n", o->name, *text == '\n' ? "" : " ", text);
		free(text);
	}
}

/* FNV-1a over the printed table: secrets are masked there, so the hash says nothing of them. */
void settings_hash(struct settings *s)
{
	char *text = NULL;
	size_t n = 0;
	uint64_t hash = 0xcbf29ce484222325;
	FILE *f = open_memstream(&text, &n);

	if (f) {
		settings_print(s, f);
		fclose(f);
	}
	for (size_t i = 0; text && i < n; i++)
		hash = (hash ^ (uint8_t)text[i]) * 0x100000001b3;
	free(text);
	snprintf(s->config_hash, sizeof(s->config_hash), "%016llx", (unsigned long long)hash);
}
