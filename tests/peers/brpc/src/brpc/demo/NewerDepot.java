// SPDX-License-Identifier: Apache-2.0
package demo;

import com.baidu.brpc.protocol.BrpcMeta;

/** What a newer client asks for. */
public interface NewerDepot {
	@BrpcMeta(serviceName = "demo.DepotService", methodName = "Missing")
	DepotProto.Got missing(DepotProto.Put put);
}
