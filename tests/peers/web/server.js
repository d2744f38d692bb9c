// SPDX-License-Identifier: Apache-2.0
// An HTTP service in Node: server.js PORT http1|http2. What a path does is told by its first part; the client logs.
"use strict";
const http = require("http");
const http2 = require("http2");
const crypto = require("crypto");
const zlib = require("zlib");
const { replyOf } = require("./peerapp");

const [port, protocol] = process.argv.slice(2);
const two = protocol === "http2";

const tokenOf = (req) => new URL(req.url, "http://x").searchParams.get("token") || req.headers["x-token"];

const readAll = async (stream) => {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
};

const actions = {
  async echo(req, res, reply) {
    const body = await readAll(req);
    res.writeHead(200, { "x-reply": reply, "content-type": "text/plain" });
    res.end(Buffer.concat([Buffer.from(reply + " "), body]));
  },
  async trailers(req, res, reply) {
    const body = await readAll(req);
    res.writeHead(200, two ? { "x-reply": reply } : { "x-reply": reply, trailer: "x-last" });
    res.write("first ");
    setImmediate(() => {
      res.write(body);
      res.addTrailers({ "x-last": reply, "x-request-trailer": req.trailers["x-sum"] || "none" });
      res.end();
    });
  },
  async hints(req, res, reply) {
    await readAll(req);
    res.writeEarlyHints({ link: "</style.css>; rel=preload; as=style" });
    res.writeHead(200, { "x-reply": reply });
    res.end(reply);
  },
  async gzip(req, res, reply) {
    await readAll(req);
    res.writeHead(200, { "x-reply": reply, "content-encoding": "gzip" });
    res.end(zlib.gzipSync(reply.repeat(20)));
  },
  async status(req, res, reply) {
    await readAll(req);
    const code = Number(new URL(req.url, "http://x").pathname.split("/")[2]);
    res.writeHead(code, { "x-reply": reply });
    res.end(code === 204 || code === 304 ? undefined : reply);
  },
  async close(req, res, reply) {
    await readAll(req);
    res.writeHead(200, { "x-reply": reply, connection: "close" });
    res.end(reply);
  },
  early(req, res, reply) { // answers before the request is there
    res.writeHead(413, { "x-reply": reply });
    res.end(reply);
    req.resume();
  },
  async never(req, res) { // the connection or stream ends before a reply
    await readAll(req);
    if (two) res.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    else req.socket.destroy();
  },
  async half(req, res, reply) { // and here in the middle of one
    await readAll(req);
    res.writeHead(200, { "x-reply": reply, "content-length": "1000" });
    res.write(reply, () => {
      if (two) res.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
      else res.socket.resetAndDestroy();
    });
  },
  async slow(req, res, reply) { // until the client gives up
    await readAll(req);
    res.writeHead(200, { "x-reply": reply });
    res.write(reply);
  },
  async large(req, res, reply) {
    const body = await readAll(req);
    res.writeHead(200, { "x-reply": reply });
    for (let at = 0; at < body.length; at += 10000) res.write(body.subarray(at, at + 10000));
    res.end();
  },
  async push(req, res, reply) {
    await readAll(req);
    const path = "/pushed?token=" + tokenOf(req).replace("tk", "tkp");
    res.stream.pushStream({ ":path": path }, (err, pushed) => {
      if (err) throw err;
      pushed.respond({ ":status": 200, "x-reply": replyOf(tokenOf(req).replace("tk", "tkp")) });
      pushed.end("pushed " + replyOf(tokenOf(req).replace("tk", "tkp")));
      res.writeHead(200, { "x-reply": reply });
      res.end(reply);
    });
  },
};

const handle = (req, res) => {
  const action = new URL(req.url, "http://x").pathname.split("/")[1];
  res.on("error", () => {});
  req.on("error", () => {});
  Promise.resolve(actions[action](req, res, replyOf(tokenOf(req)))).catch(() => {});
};

const server = two ? http2.createServer(handle) : http.createServer({ keepAliveTimeout: 600000 }, handle);

if (!two) {
  server.on("checkContinue", (req, res) => {
    res.writeContinue();
    handle(req, res);
  });
  server.on("upgrade", (req, socket) => { // a WebSocket that answers what it gets
    const key = crypto.createHash("sha1")
      .update(req.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64");
    socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
      `Sec-WebSocket-Accept: ${key}\r\nX-Reply: ${replyOf(tokenOf(req))}\r\n\r\n`);
    socket.on("data", (d) => socket.write(d));
    socket.on("end", () => socket.end());
    socket.on("error", () => {});
  });
  server.on("connect", (req, socket) => { // a tunnel to itself
    socket.write(`HTTP/1.1 200 Connected\r\nX-Reply: ${replyOf(req.headers["x-token"])}\r\n\r\n`);
    socket.on("data", (d) => socket.write(d));
    socket.on("end", () => socket.end());
    socket.on("error", () => {});
  });
}
server.on("clientError", (e, socket) => socket.destroy());
server.listen(Number(port), "127.0.0.1");
