/* SPDX-License-Identifier: Apache-2.0 */
/* Values of properties that stand elsewhere, so that no secret is in a command line or a configuration (C7). */
#pragma once
#include <stddef.h>

/*
 * "file:PATH": what the file holds, at most 64 KiB, without one line end at its end. "env:NAME": the environment
 * variable. Anything else: itself. malloc'ed; NULL: err says what is wrong and never shows a value.
 */
char *kafka_secret(const char *property, const char *value, char *err, size_t err_n);
