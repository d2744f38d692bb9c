// SPDX-License-Identifier: Apache-2.0
// For applications in Node: tokens, the log, the rounds of a client (kit/app/peerapp.py for Python).
"use strict";
const fs = require("fs");
const readline = require("readline");

const log = fs.openSync(process.env.PEER_LOG, "a");
let number = 0;

exports.GOLDEN = "PEER_GOLDEN" in process.env;

exports.newToken = () => {
  number += 1;
  return `tk${process.pid.toString(16)}-${String(number).padStart(4, "0")}_`;
};

exports.replyOf = (token) => "rp" + token.slice(2);

exports.line = (token, replyToken, expect, more = {}) => {
  const out = { token, reply_token: replyToken, expect, ...more };
  for (const key of ["request_body", "response_body"])
    if (out[key] !== undefined) out[key] = Buffer.from(out[key]).toString("base64");
  fs.writeSync(log, JSON.stringify(out) + "\n");
};

exports.must = (what, ok) => {
  if (ok) return;
  process.stderr.write(`not as it should be: ${what}\n`);
  process.exit(1);
};

// One round for each line of stdin; says done after each.
exports.rounds = async (round, end) => {
  for await (const _ of readline.createInterface({ input: process.stdin })) {
    await round();
    process.stdout.write("done\n");
  }
  end();
};

process.on("unhandledRejection", (e) => {
  process.stderr.write(`${e && e.stack}\n`);
  process.exit(1);
});
