// SPDX-License-Identifier: Apache-2.0
package demo;

import com.baidu.brpc.protocol.BrpcMeta;

/** What the server offers. */
public interface Depot {
	@BrpcMeta(serviceName = "demo.DepotService", methodName = "Put")
	DepotProto.Got put(DepotProto.Put put);

	@BrpcMeta(serviceName = "demo.DepotService", methodName = "Fail")
	DepotProto.Got fail(DepotProto.Put put);
}
