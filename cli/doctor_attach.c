/* SPDX-License-Identifier: Apache-2.0 */
/* Each back end's own answer: it really tries. */
#include "base/log.h"
#include "capture/attach.h"
#include "cli/doctor.h"

void doctor_look_attach(struct doctor_attach a[DOCTOR_BACK_ENDS])
{
	static const struct attach_ops *const ops[DOCTOR_BACK_ENDS] = {
		&attach_cgroup, &attach_socket, &attach_pcap};
	const struct attach_cfg cfg = {.keep_below = 1ull << 32};

	for (size_t i = 0; i < DOCTOR_BACK_ENDS; i++) {
		char why[DOCTOR_TEXT] = "";
		a[i] = (struct doctor_attach) {.name = ops[i]->name, .exact = ops[i]->exact};
		a[i].works = ops[i]->probe(&cfg, why, sizeof(why)) == 0;
		if (!a[i].works)
			log_escape(a[i].why, sizeof(a[i].why), bytes_str(why));
	}
}
