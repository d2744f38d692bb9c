// SPDX-License-Identifier: Apache-2.0
// HTTP/2 as Node speaks it: client2.js PORT
"use strict";
const http2 = require("http2");
const { GOLDEN, newToken, replyOf, line, must, rounds } = require("./peerapp");

const port = Number(process.argv[2]);
const hop = `127.0.0.1:${port}`;
const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR } = http2.constants;
const outcome = (code) => (code < 400 ? "OK" : code < 500 ? "CLIENT_ERROR" : "SERVER_ERROR");
const text = (n) => Buffer.alloc(n, "the rest of a body that is long enough; ");
let session;

const base = (method, path, code) => ({
  protocol: "http2", call_type: "unary", service: hop, server: hop, method, path, status_code: code,
  outcome: outcome(code) });

// {status, headers, trailers, body, code}; feed(stream) writes the request's body.
const ask = (headers, feed = (s) => s.end(), options = {}) => new Promise((resolve) => {
  const s = session.request(headers, options);
  const r = { status: 0, headers: {}, trailers: {}, body: Buffer.alloc(0) }, parts = [];
  s.on("response", (h) => { r.status = h[":status"]; r.headers = h; });
  s.on("trailers", (t) => { r.trailers = t; });
  s.on("data", (d) => { parts.push(d); if (options.cancel) s.close(NGHTTP2_CANCEL); });
  s.on("error", () => {});
  s.on("close", () => { r.body = Buffer.concat(parts); r.code = s.rstCode; resolve(r); });
  feed(s);
});

async function plain(action, code, { method = "GET", body = null, headers = {}, more = {} } = {}) {
  const token = newToken(), path = `/${action}?token=${token}`;
  const r = await ask({ ":method": method, ":path": path, "x-odd": String(code), ...headers },
    (s) => s.end(body || undefined));
  must(`${action}: ${r.status}`, r.status === code && r.headers["x-reply"] === replyOf(token));
  line(token, replyOf(token), { ...base(method, path, code), "response.headers.x-reply": replyOf(token), ...more },
    { hop, request_body: body || "", response_body: r.body });
}

async function trailers() {
  const token = newToken(), path = `/trailers?token=${token}`, body = text(3000);
  const r = await ask({ ":method": "POST", ":path": path }, (s) => {
    s.on("wantTrailers", () => s.sendTrailers({ "x-sum": "42" }));
    s.end(body);
  }, { waitForTrailers: true });
  must("trailers", r.trailers["x-last"] === replyOf(token) && r.trailers["x-request-trailer"] === "42");
  line(token, replyOf(token), { ...base("POST", path, 200), "response.trailers.x-last": replyOf(token),
    "request.trailers.x-sum": "42" }, { hop, request_body: body, response_body: r.body });
}

async function broken(action, expect, replyToken) {
  const token = newToken(), path = `/${action}?token=${token}`;
  const r = await ask({ ":path": path });
  must(`${action} fails: ${r.code}`, r.code === NGHTTP2_INTERNAL_ERROR);
  line(token, replyToken ? replyOf(token) : null, { ...base("GET", path, 0), "attributes.rst_code": "2",
    "attributes.rst_by": "server", ...expect }, { hop, flags_allowed: ["no_response"] });
}

async function cancelled() {
  const token = newToken(), path = `/slow?token=${token}`;
  await ask({ ":path": path }, (s) => s.end(), { cancel: true });
  line(token, replyOf(token), { ...base("GET", path, 200), outcome: "ABORTED", "attributes.rst_code": "8",
    "attributes.rst_by": "client" }, { hop });
}

// The pushed stream is a call of its own.
async function push() {
  const token = newToken(), path = `/push?token=${token}`, other = token.replace("tk", "tkp");
  const pushed = new Promise((resolve) => {
    session.once("stream", (s) => {
      const parts = [];
      s.on("data", (d) => parts.push(d));
      s.on("end", () => resolve(Buffer.concat(parts)));
    });
  });
  const r = await ask({ ":path": path });
  line(token, replyOf(token), base("GET", path, 200), { hop, response_body: r.body });
  line(other, replyOf(other), base("GET", `/pushed?token=${other}`, 200), { hop, response_body: await pushed });
}

rounds(async () => {
  if (!session) {
    session = http2.connect(`http://${hop}`);
    await new Promise((resolve) => session.once("remoteSettings", resolve));
  }
  await Promise.all([plain("echo", 200), plain("echo", 200, { method: "POST", body: text(200) }),
    plain("large", 200, { method: "POST", body: text(GOLDEN ? 900 : 200000) }),
    plain("large", 200, { method: "PUT", body: text(GOLDEN ? 900 : 150000) }),
    plain("hints", 200, { more: { "attributes.interim": "103" } }), trailers()]);
  await plain("echo", 200, { method: "HEAD" });
  await plain("status/204", 204);
  await plain("status/404", 404, { method: "DELETE" });
  await plain("status/503", 503, { headers: { cookie: ["a=b", "c=d"] } });
  await plain("gzip", 200);
  await push();
  await broken("never", { outcome: { any: ["NO_RESPONSE", "ABORTED"] } }, false);
  await broken("half", { status_code: 200, outcome: "ABORTED" }, true);
  await cancelled();
}, () => session.close());
