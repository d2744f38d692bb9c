// SPDX-License-Identifier: Apache-2.0
namespace go flows

include "echo.thrift"

service StreamService {
  echo.Resp Upload(1: echo.Req req) (streaming.mode = "client")
  echo.Resp Watch(1: echo.Req req) (streaming.mode = "server")
  echo.Resp Talk(1: echo.Req req) (streaming.mode = "bidirectional")
  echo.Resp Single(1: echo.Req req)
}
