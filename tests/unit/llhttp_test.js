/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What llhttp (Node's parser, no leniency) makes of messages. Input: a line a case, "q HEX" or "r HEX" (request,
 * response; the response's bytes are followed by the end of the connection). Output: a line a case:
 * "ok" or "error", then for each message head its start and fields and its body, all in hex, so that both sides
 * compare as text.
 */
'use strict';
process.removeAllListeners('warning');
process.on('warning', () => {});
const { HTTPParser, methods } = process.binding('http_parser');
const hex = (s) => Buffer.from(s || '', 'latin1').toString('hex');

function judge(kind, bytes) {
	const messages = [];
	let now = null, fields = [], target = '';
	const parser = new HTTPParser();
	parser.initialize(kind === 'q' ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {}, 80 * 1024,
			  HTTPParser.kLenientNone);
	parser[HTTPParser.kOnHeaders] = (list, url) => {
		fields = fields.concat(list);
		target = url || target;
	};
	parser[HTTPParser.kOnHeadersComplete] = (major, minor, list, method, url, status, reason) => {
		const all = fields.concat(list || []);
		fields = [];
		const start = kind === 'q' ? `${methods[method]} ${hex(url || target)}` : `${status} ${hex(reason)}`;
		const pairs = [];
		for (let i = 0; i < all.length; i += 2)
			pairs.push(`${hex(all[i])}:${hex(all[i + 1])}`);
		now = { text: `${start} 1.${minor} ${pairs.join(',')}`, body: '', done: false };
		messages.push(now);
		return 0;
	};
	parser[HTTPParser.kOnBody] = (b) => { now.body += b.toString('hex'); };
	parser[HTTPParser.kOnMessageComplete] = () => { now.done = true; fields = []; target = ''; };
	let failed = parser.execute(bytes) instanceof Error;
	if (!failed && kind === 'r')
		failed = parser.finish() instanceof Error;
	const list = messages.map((m) => `${m.text} ${m.body} ${m.done ? 'end' : 'open'}`);
	return `${failed ? 'error' : 'ok'} ${list.join(' | ')}`;
}

const lines = require('fs').readFileSync(0, 'latin1').split('\n');
const out = [];
for (const line of lines)
	if (line)
		out.push(judge(line[0], Buffer.from(line.slice(2), 'hex')));
process.stdout.write(out.join('\n') + '\n');
