// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 as Node speaks it: client1.js PORT
"use strict";
const http = require("http");
const net = require("net");
const zlib = require("zlib");
const { GOLDEN, newToken, replyOf, line, must, rounds } = require("./peerapp");

const port = Number(process.argv[2]);
const hop = `127.0.0.1:${port}`;
const agent = new http.Agent({ keepAlive: true, maxSockets: 3 });
const outcome = (code) => (code < 400 ? "OK" : code < 500 ? "CLIENT_ERROR" : "SERVER_ERROR");
const text = (n) => Buffer.alloc(n, "the rest of a body that is long enough; ");

const base = (method, path, code) => ({
  protocol: "http1", call_type: "unary", service: hop, server: hop, method, path, status_code: code,
  outcome: outcome(code) });

// {status, headers, trailers, body}; feed(req) writes the request's body.
const ask = (options, feed = (req) => req.end()) => new Promise((resolve, reject) => {
  const req = http.request({ host: "127.0.0.1", port, agent, ...options }, (res) => {
    const parts = [];
    res.on("data", (d) => parts.push(d));
    res.on("end", () => resolve({ status: res.statusCode, headers: res.headers, trailers: res.trailers,
      body: Buffer.concat(parts) }));
    res.on("error", reject);
  });
  req.on("error", reject);
  feed(req);
});

async function plain(action, code, { method = "GET", body = null, headers = {}, more = {}, reply = null } = {}) {
  const token = newToken();
  const path = `/${action}?a=%20b&token=${token}`;
  const r = await ask({ method, path, headers }, (req) => req.end(body || undefined));
  must(`${action}: ${r.status}`, r.status === code && r.headers["x-reply"] === replyOf(token));
  line(token, replyOf(token), { ...base(method, path, code), "response.headers.x-reply": replyOf(token), ...more },
    { hop, request_body: body || "", response_body: reply ? reply(token) : r.body });
  return r;
}

async function chunkedWithTrailers() {
  const token = newToken(), path = `/trailers?token=${token}`, parts = [text(10), text(300), text(GOLDEN ? 5 : 9000)];
  const r = await ask({ method: "POST", path, headers: { trailer: "x-sum" } }, (req) => {
    for (const p of parts) req.write(p);
    req.addTrailers({ "x-sum": "42" });
    req.end();
  });
  must("trailers", r.trailers["x-last"] === replyOf(token) && r.trailers["x-request-trailer"] === "42");
  line(token, replyOf(token), { ...base("POST", path, 200), "response.trailers.x-last": replyOf(token),
    "request.trailers.x-sum": "42" }, { hop, request_body: Buffer.concat(parts), response_body: r.body });
}

async function expectContinue() {
  const token = newToken(), path = `/echo?token=${token}`, body = text(50);
  const r = await ask({ method: "PUT", path, headers: { expect: "100-continue", "content-length": body.length } },
    (req) => req.on("continue", () => req.end(body)));
  line(token, replyOf(token), { ...base("PUT", path, 200), "attributes.interim": "100" },
    { hop, request_body: body, response_body: r.body });
}

async function gzip() {
  const token = newToken(), path = `/gzip?token=${token}`;
  const r = await ask({ path });
  must("gzip", zlib.gunzipSync(r.body).toString() === replyOf(token).repeat(20));
  line(token, replyOf(token), { ...base("GET", path, 200), "response.headers.content-encoding": "gzip" },
    { hop, response_body: r.body });
}

// The reply comes while the request is still being sent; the client ends it then.
async function early() {
  const token = newToken(), path = `/early?token=${token}`, first = text(1000), rest = text(300);
  const r = await ask({ method: "POST", path, agent: false, headers: { "content-length": 1300 } }, (req) => {
    req.write(first);
    req.on("response", () => req.end(rest));
  });
  line(token, replyOf(token), base("POST", path, 413),
    { hop, request_body: Buffer.concat([first, rest]), response_body: r.body });
}

async function broken(action, expect, replyToken) {
  const token = newToken(), path = `/${action}?token=${token}`;
  let failed = false;
  try { await ask({ path, agent: false }); } catch (e) { failed = true; }
  must(`${action} fails`, failed);
  line(token, replyToken ? replyOf(token) : null, { ...base("GET", path, 0), ...expect }, { hop });
}

async function givenUp() {
  const token = newToken(), path = `/slow?token=${token}`;
  await new Promise((resolve) => {
    const req = http.get({ host: "127.0.0.1", port, path, agent: false }, (res) => {
      res.on("error", () => {});
      res.once("data", () => { req.destroy(); });
      res.on("close", resolve);
    });
    req.on("error", () => {});
  });
  line(token, replyOf(token), { ...base("GET", path, 200), outcome: "ABORTED" }, { hop });
}

// Raw bytes both ways after the switch; one further opaque call tells them.
const switched = (head, expect) => new Promise((resolve) => {
  const socket = net.connect(port, "127.0.0.1");
  let got = "", sent = false;
  socket.write(head);
  socket.on("data", (d) => {
    got += d.toString("latin1");
    if (!sent && got.includes("\r\n\r\n")) {
      sent = true;
      got = "";
      socket.write(Buffer.from("\x81\x85abcdefghi", "latin1"));
    } else if (sent && got.length >= 11) {
      socket.end();
    }
  });
  socket.on("close", () => { expect(); resolve(); });
});

async function webSocket() {
  const token = newToken(), path = `/chat?token=${token}`;
  await switched(`GET ${path} HTTP/1.1\r\nHost: ${hop}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  () => line(token, replyOf(token), base("GET", path, 101), { hop }));
}

async function connect() {
  const token = newToken();
  await switched(`CONNECT far.example:443 HTTP/1.1\r\nHost: far.example:443\r\nX-Token: ${token}\r\n\r\n`,
    () => line(token, replyOf(token), { ...base("CONNECT", "far.example:443", 200), service: "far.example:443" }, { hop }));
}

// Five requests at once on one connection
const pipelined = () => new Promise((resolve) => {
  const tokens = [1, 2, 3, 4, 5].map(newToken);
  const socket = net.connect(port, "127.0.0.1");
  let got = "";
  socket.write(tokens.map((t) => `GET /echo?token=${t} HTTP/1.1\r\nHost: ${hop}\r\n\r\n`).join(""));
  socket.on("data", (d) => {
    got += d.toString("latin1");
    if (got.split("\r\n0\r\n\r\n").length > 5) socket.end();
  });
  socket.on("close", () => {
    for (const t of tokens)
      line(t, replyOf(t), base("GET", `/echo?token=${t}`, 200), { hop, response_body: replyOf(t) + " " });
    resolve();
  });
});

rounds(async () => {
  await Promise.all([plain("echo", 200), plain("echo", 200, { method: "POST", body: text(200) }), plain("hints", 200,
    { more: { "attributes.interim": "103" } })]);
  await plain("echo", 200, { method: "HEAD", reply: () => "" });
  await plain("echo", 200, { method: "OPTIONS" });
  await plain("status/204", 204);
  await plain("status/304", 304);
  await plain("status/302", 302);
  await plain("status/404", 404, { method: "DELETE" });
  await plain("status/503", 503);
  await chunkedWithTrailers();
  await expectContinue();
  await gzip();
  await plain("large", 200, { method: "POST", body: text(GOLDEN ? 900 : 400000) });
  await plain("close", 200);
  await early();
  await broken("never", { outcome: "NO_RESPONSE" }, false);
  await broken("half", { status_code: 200, outcome: "ABORTED" }, true);
  await givenUp();
  await webSocket();
  await connect();
  await pipelined();
}, () => agent.destroy());
