/* SPDX-License-Identifier: Apache-2.0 */
/* Gives way to the service beside it (F6, F7): the processor by priority, memory by dying first. */
#pragma once

/* --priority, in the order of its words */
enum yield_priority {
	YIELD_NORMAL,
	YIELD_LOW, /* nice 10 */
	YIELD_IDLE, /* SCHED_IDLE: what others leave. Under full load the rings fill, which is counted */
};

/* For the calling thread and those that it starts: before the first of them. 0, -errno. */
int yield_cpu(enum yield_priority priority);

/* Where memory runs out the kernel takes this process before any other that may be taken (oom_score_adj 1000, which
 * needs no privilege). Before sandbox_early(). 0, -errno. */
int yield_memory(void);
