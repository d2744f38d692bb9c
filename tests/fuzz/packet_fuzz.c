/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a frame of any link type: what is found lies within the frame. */
#include <stdlib.h>

#include "capture/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int links[] = {0, 1, 12, 14, 101, 108, 113, 228, 229, 276, 147};
	if (size < 4)
		return 0;
	int link = links[data[0] % (sizeof(links) / sizeof(*links))];
	struct bytes frame = bytes_of(data + 4, size - 4);
	uint32_t wire = (uint32_t)frame.n + (uint32_t)(data[1] << 16 | data[2] << 8 | data[3]);
	struct packet p;
	enum packet_result r = packet_parse(link, frame, wire, 1, &p);
	if (r != PACKET_OK && r != PACKET_CONTROL)
		return 0;
	if (p.data.n > p.len || p.len > wire)
		abort();
	if (p.data.n && (p.data.p < frame.p || p.data.p + p.data.n > frame.p + frame.n))
		abort();
	if (r == PACKET_CONTROL && (p.len || p.flags & (TCP_SYN | TCP_FIN | TCP_RST)))
		abort();
	return 0;
}
