/* SPDX-License-Identifier: Apache-2.0 */
#include "base/nearest.h"

#include <stdint.h>
#include <string.h>

enum { NAME_MAX_LENGTH = 40 };

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Optimal string alignment distance */
static unsigned distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);
	uint8_t d[NAME_MAX_LENGTH + 1][NAME_MAX_LENGTH + 1];

	if (la > NAME_MAX_LENGTH || lb > NAME_MAX_LENGTH)
		return UINT8_MAX;
	for (size_t i = 0; i <= la; i++)
		d[i][0] = (uint8_t)i;
	for (size_t j = 0; j <= lb; j++)
		d[0][j] = (uint8_t)j;
	for (size_t i = 1; i <= la; i++) {
		for (size_t j = 1; j <= lb; j++) {
			unsigned best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			best = least(best, least(d[i - 1][j], d[i][j - 1]) + 1U);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = least(best, d[i - 2][j - 2] + 1U);
			d[i][j] = (uint8_t)best;
		}
	}
	return d[la][lb];
}

int nearest_name(const char *typed, const char *const *names, size_t n)
{
	unsigned best = UINT8_MAX;
	int found = -1;

	for (size_t i = 0; i < n; i++) {
		if (!names[i])
			continue;
		unsigned d = distance(typed, names[i]);
		size_t longer = strlen(typed) > strlen(names[i]) ? strlen(typed) : strlen(names[i]);
		if (d < best && d <= (longer + 2) / 3) {
			best = d;
			found = (int)i;
		}
	}
	return found;
}
