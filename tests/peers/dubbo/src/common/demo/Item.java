// SPDX-License-Identifier: Apache-2.0
package demo;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** One of each kind of value that the serializations write in ways of their own. */
public class Item implements Serializable {
	public String token;
	public String pad;
	public int count;
	public long big;
	public double weight;
	public boolean on;
	public byte[] blob;
	public Date when;
	public Item part;
	public List<String> names = new ArrayList<>();
	public Map<String, Integer> shelves = new HashMap<>();

	public Item() {
	}

	public static Item of(String token, String pad) {
		Item i = new Item();
		i.token = token;
		i.pad = pad;
		i.count = -7;
		i.big = 1L << 40;
		i.weight = 0.25;
		i.on = true;
		i.blob = new byte[] {0, 1, (byte) 0x80, (byte) 0xff};
		i.when = new Date(1700000000000L);
		i.part = new Item();
		i.part.token = "part";
		i.names.add("a");
		i.names.add("größer");
		i.shelves.put("left", 1);
		i.shelves.put("right", 70000);
		return i;
	}
}
