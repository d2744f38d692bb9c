/* SPDX-License-Identifier: Apache-2.0 */
/* What is taken and what is left: rules, limits. */
#include <errno.h>

#include "base/hash.h"
#include "base/log.h"
#include "capture/pipeline_state.h"

uint64_t pipeline_seed(const struct pipeline *p)
{
	return hash_bytes(hash_key_of(1), bytes_of(p->instance, 16));
}

int pipeline_set_rules(struct pipeline *p)
{
	struct sampler *s = settings_sampler(p->s, pipeline_seed(p));
	int err = s ? recorder_set_rules(p->recorder, &s) : -ENOMEM;
	sampler_free(s);
	if (err == 0 && p->flows)
		flow_unmute_all(p->flows);
	return err;
}

bool pipeline_never(void *ctx, struct conn *c, const char *protocol)
{
	struct pipeline *p = ctx;
	return recorder_never(p->recorder, c, protocol);
}

bool pipeline_verdict(void *ctx, uint32_t slot, uint32_t word)
{
	struct pipeline *p = ctx;
	if (!p->attach || !p->ops->verdict)
		return false;
	p->ops->verdict(p->attach, slot, word);
	return true;
}

void pipeline_limit(struct pipeline *p)
{
	if (p->limited)
		return;
	p->limited = true;
	if (!p->s->idle || p->from_file) {
		p->stop = true;
		return;
	}
	log_info("--limit reached: idle, attached to nothing (--idle)");
	if (p->attach)
		pipeline_detach(p);
	flow_end_all(p->flows, FLOW_STOP);
}
