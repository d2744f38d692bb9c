/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/yield.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LOW = 10 };
static const char first_to_die[] = "1000"; /* OOM_SCORE_ADJ_MAX, linux/oom.h */

int yield_cpu(enum yield_priority priority)
{
	const struct sched_param none = {0};
	int rc = 0;

	switch (priority) {
	case YIELD_NORMAL: break;
	case YIELD_LOW: rc = setpriority(PRIO_PROCESS, 0, LOW); break;
	case YIELD_IDLE: rc = sched_setscheduler(0, SCHED_IDLE, &none); break;
	}
	return rc < 0 ? -errno : 0;
}

int yield_memory(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int rc = write(fd, first_to_die, strlen(first_to_die)) < 0 ? -errno : 0;
	close(fd);
	return rc;
}
