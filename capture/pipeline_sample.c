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
	return err;
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
