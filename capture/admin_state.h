/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of admin. */
#pragma once
#include "capture/admin.h"
#include "capture/reload.h"

struct admin {
	struct admin_cfg cfg;
	struct reload *reload; /* NULL: no file, or from a file of packets */
	struct control *control;
	struct metrics *metrics;
};
