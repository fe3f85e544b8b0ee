// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The demo's server and its UDP client.
//
//   demo-peer.mjs serve ADDRESS            HTTP on port 80 and UDP on port 53; both answer with whom they saw
//   demo-peer.mjs ask PORT ADDRESS         a DNS-sized datagram from that source port; prints the answer
import { createSocket } from 'node:dgram';
import { createServer } from 'node:http';

const QUERY_BYTES = 40; // about a DNS question
const ANSWER_LIMIT_MS = 60_000;

const [mode, ...args] = process.argv.slice(2);

function serve(address) {
  const web = createServer((request, response) => {
    response.end(`HTTP  from ${request.socket.remoteAddress}:${request.socket.remotePort}\n`);
  });
  const udp = createSocket('udp4');
  udp.on('message', (_, from) => udp.send(`UDP   from ${from.address}:${from.port}\n`, from.port, from.address));
  udp.bind(53, address, () => web.listen(80, address, () => console.log('ready')));
}

function ask(port, address) {
  const socket = createSocket('udp4');
  const timer = setTimeout(() => {
    console.error(`no answer from ${address} within ${ANSWER_LIMIT_MS} ms`);
    process.exit(1);
  }, ANSWER_LIMIT_MS);
  socket.on('message', (data) => {
    clearTimeout(timer);
    process.stdout.write(data);
    socket.close();
  });
  socket.bind(port, () => socket.send(Buffer.alloc(QUERY_BYTES), 53, address));
}

if (mode === 'serve') serve(args[0]);
else if (mode === 'ask') ask(Number(args[0]), args[1]);
else {
  console.error('usage: demo-peer.mjs serve ADDRESS | ask PORT ADDRESS');
  process.exit(2);
}
