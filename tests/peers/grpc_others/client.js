// SPDX-License-Identifier: Apache-2.0
// A client in grpc-js (Node): client.js PORT
"use strict";
const path = require("path");
const grpc = require(path.join(process.env.PEER_CACHE, "js", "node_modules", "@grpc", "grpc-js"));
const { newToken, replyOf, line, must, rounds } = require(path.join(__dirname, "..", "web", "peerapp.js"));

const hop = `127.0.0.1:${process.argv[2]}`;
const client = new grpc.Client(hop, grpc.credentials.createInsecure(), { "grpc.enable_http_proxy": 0 });
const same = (b) => b;
const SERVER_ERRORS = [2, 4, 12, 13, 14, 15];

const base = (method, type, code = 0) => ({
  protocol: "grpc", service: "peer.Echo", method, path: `/peer.Echo/${method}`, call_type: type, server: hop,
  status_code: code, outcome: code === 0 ? "OK" : SERVER_ERRORS.includes(code) ? "SERVER_ERROR" : "CLIENT_ERROR" });

const unary = (method, body, meta = new grpc.Metadata(), options = {}) => new Promise((resolve) => {
  const call = client.makeUnaryRequest(`/peer.Echo/${method}`, same, same, body, meta, options,
    (err, reply) => resolve({ err, reply, trailers: call.trailers }));
  call.on("status", (s) => { call.trailers = s.metadata; });
});

async function plain() {
  const token = newToken(), body = Buffer.from(`${token} of some text`);
  const meta = new grpc.Metadata();
  meta.set("x-token", token);
  const { err, reply } = await unary("Unary", body, meta);
  must("unary", !err && reply.toString() === body.toString().replace(token, replyOf(token)));
  line(token, replyOf(token), { ...base("Unary", "unary"), "request.headers.x-token": token },
    { hop, request_body: body, response_body: reply });
}

async function metadata() {
  const token = newToken(), meta = new grpc.Metadata();
  meta.set("x-data-bin", Buffer.from([0, 1, 2, 255]));
  const { err, reply } = await unary("Meta", Buffer.from(token), meta);
  must("meta", !err);
  line(token, replyOf(token), { ...base("Meta", "unary"), "response.headers.x-first": "a " + replyOf(token),
    "response.trailers.x-last": "z " + replyOf(token) }, { hop, request_body: token, response_body: reply });
}

async function fail(code) {
  const token = newToken(), body = `${code} ${token}`;
  const { err } = await unary("Fail", Buffer.from(body));
  must(`fail ${code}`, err && err.code === code && err.details.includes(replyOf(token)));
  line(token, replyOf(token), { ...base("Fail", "unary", code), status_text: err.details }, { hop, request_body: body });
}

async function missing() {
  const token = newToken(), meta = new grpc.Metadata();
  meta.set("x-token", token);
  const { err } = await unary("Missing", Buffer.from(token), meta);
  must("missing", err.code === 12);
  line(token, null, base("Missing", "unary", 12), { hop });
}

const serverStream = () => new Promise((resolve) => {
  const token = newToken(), sizes = [];
  const call = client.makeServerStreamRequest("/peer.Echo/ServerStream", same, same, Buffer.from(token));
  call.on("data", (d) => sizes.push(d.length));
  call.on("end", () => {
    line(token, replyOf(token), base("ServerStream", "server_stream"),
      { hop, stream: { request: [token.length], response: sizes } });
    resolve();
  });
});

const clientStream = () => new Promise((resolve) => {
  const token = newToken();
  const call = client.makeClientStreamRequest("/peer.Echo/ClientStream", same, same, (err, reply) => {
    must("client stream", !err);
    line(token, replyOf(token), base("ClientStream", "client_stream"),
      { hop, stream: { request: [token.length, 0, 700], response: [reply.length] } });
    resolve();
  });
  for (const m of [Buffer.from(token), Buffer.alloc(0), Buffer.alloc(700, "m")]) call.write(m);
  call.end();
});

const bidi = () => new Promise((resolve) => {
  const token = newToken(), out = [0, 1, 2].map((i) => Buffer.from(`${i} ${token}`)), got = [];
  const call = client.makeBidiStreamRequest("/peer.Echo/Bidi", same, same);
  call.write(out[0]);
  call.on("data", (d) => {
    got.push(d.length);
    if (got.length < out.length) call.write(out[got.length]);
    else call.end();
  });
  call.on("end", () => {
    line(token, replyOf(token), base("Bidi", "bidi_stream"), { hop, stream: { request: out.map((m) => m.length), response: got } });
    resolve();
  });
});

const cancelled = () => new Promise((resolve) => {
  const token = newToken(), sizes = [];
  const call = client.makeServerStreamRequest("/peer.Echo/Cancel", same, same, Buffer.from(token));
  call.on("data", (d) => {
    sizes.push(d.length);
    if (sizes.length === 2) call.cancel();
  });
  call.on("error", () => {});
  call.on("status", () => {
    line(token, replyOf(token), { ...base("Cancel", "server_stream"), outcome: "ABORTED", "attributes.rst_code": "8",
      "attributes.rst_by": "client" }, { hop, stream: { request: [token.length], response: sizes } });
    resolve();
  });
});

async function deadline() {
  const token = newToken();
  const { err } = await unary("Deadline", Buffer.from(token), new grpc.Metadata(), { deadline: Date.now() + 100 });
  must("deadline", err.code === 4);
  line(token, null, { ...base("Deadline", "unary"), outcome: { any: ["ABORTED", "SERVER_ERROR", "NO_RESPONSE"] },
    status_code: { any: [0, 4] } }, { hop, flags_allowed: ["no_response"] });
}

rounds(async () => {
  await Promise.all([plain(), plain(), plain(), metadata(), serverStream(), clientStream(), bidi()]);
  await fail(5);
  await fail(13);
  await missing();
  await cancelled();
  await deadline();
  await plain();
}, () => client.close());
