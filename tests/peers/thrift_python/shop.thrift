// SPDX-License-Identifier: Apache-2.0
namespace go shop

struct Part { 1: string name, 2: double weight, 3: optional list<Part> parts }

struct Item {
  1: string token
  2: i32 number
  3: list<string> tags
  4: map<string, i64> counts
  5: binary blob
  6: bool fresh
  7: set<i16> sizes
  8: Part part
  9: map<i32, list<bool>> marks
}

exception Gone { 1: string why, 2: i32 since }

service Shop {
  Item get(1: Item item) throws (1: Gone gone)
  void put(1: string token, 2: Item item)
  oneway void tell(1: string token)
  string fail(1: string token)
}

// What the servers do not know
service LaterShop extends Shop {
  string later(1: string token)
}

service Ledger {
  i64 count(1: string token)
}
