// SPDX-License-Identifier: Apache-2.0
package demo;

import com.baidu.jprotobuf.pbrpc.ClientAttachmentHandler;
import com.baidu.jprotobuf.pbrpc.CompressType;
import com.baidu.jprotobuf.pbrpc.ProtobufRPC;
import java.nio.charset.StandardCharsets;

/** As the client calls it: the server has no Missing. */
public interface PojoDepot {
	String SERVICE = "demo.PojoDepot";

	/** Sends "with TOKEN". */
	class Attacher implements ClientAttachmentHandler {
		@Override
		public byte[] handleRequest(String service, String method, Object... args) {
			return ("with " + ((PojoPut) args[0]).token).getBytes(StandardCharsets.UTF_8);
		}

		@Override
		public void handleResponse(byte[] attachment, String service, String method, Object... args) {
		}
	}

	@ProtobufRPC(serviceName = SERVICE, methodName = "Put", onceTalkTimeout = 10000)
	PojoGot put(PojoPut put);

	@ProtobufRPC(serviceName = SERVICE, methodName = "PutGzip", onceTalkTimeout = 10000,
		compressType = CompressType.GZIP)
	PojoGot putGzip(PojoPut put);

	@ProtobufRPC(serviceName = SERVICE, methodName = "PutSnappy", onceTalkTimeout = 10000,
		compressType = CompressType.Snappy)
	PojoGot putSnappy(PojoPut put);

	@ProtobufRPC(serviceName = SERVICE, methodName = "PutAttached", onceTalkTimeout = 10000,
		attachmentHandler = Attacher.class)
	PojoGot putAttached(PojoPut put);

	@ProtobufRPC(serviceName = SERVICE, methodName = "Fail", onceTalkTimeout = 10000)
	PojoGot fail(PojoPut put);

	@ProtobufRPC(serviceName = SERVICE, methodName = "Missing", onceTalkTimeout = 10000)
	PojoGot missing(PojoPut put);
}
