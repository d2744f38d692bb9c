// SPDX-License-Identifier: Apache-2.0
namespace go echo

struct Inner {
  1: string name
  2: double weight
  3: optional bool on
}

struct Req {
  1: required string token
  2: i32 kind
  3: optional string pad
  4: map<string, Inner> inners
  5: list<i64> numbers
  6: set<i16> shorts
  7: binary blob
  8: i32 wait_ms
}

struct Resp {
  1: required string token
  2: list<Inner> inners
  3: binary blob
  4: i64 big
}

exception Refused {
  1: string token
  2: i32 reason
}

exception Busy {
  1: string token
}

service EchoService {
  Resp Echo(1: Req req) throws (1: Refused refused, 2: Busy busy)
  string Name(1: string token)
  void Touch(1: string token)
  oneway void Note(1: Req req)
  Resp Fail(1: Req req)
  Resp Biz(1: Req req)
  Resp Slow(1: Req req)
  string Settled(1: string token, 2: string slow)
}
