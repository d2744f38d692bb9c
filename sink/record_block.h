/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include "sink/record.h"

/* Room for n encoded bytes with its struct record behind them: one malloc. NULL: no memory. */
struct record *record_block_new(enum record_kind kind, size_t n);
