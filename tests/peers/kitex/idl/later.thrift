// SPDX-License-Identifier: Apache-2.0
// The same service as a newer client knows it: the server lacks Missing.
namespace go later

include "echo.thrift"

service EchoService {
  echo.Resp Missing(1: echo.Req req)
}
