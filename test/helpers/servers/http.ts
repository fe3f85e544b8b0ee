// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A web server inside a namespace.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pattern } from './pattern.js';

/**
 * GET / answers "ADDRESS PORT\n" of the client as the server sees it; GET /download/BYTES streams that much
 * of the pattern; PUT or POST /upload answers "BYTES SHA256\n" of the body.
 */
export async function httpServer(address: string, port: number): Promise<void> {
  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy());
  });
  server.listen({ host: address, port, backlog: 4096 });
  await once(server, 'listening');
}

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const download = /^\/download\/(\d+)$/.exec(request.url ?? '');
  if (download) {
    const bytes = Number(download[1]);
    response.writeHead(200, { 'content-length': bytes });
    await pipeline(Readable.from(copies(bytes), { objectMode: true, highWaterMark: 4 }), response);
  } else if (request.url === '/upload') {
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const chunk of request) {
      hash.update(chunk as Buffer);
      bytes += (chunk as Buffer).length;
    }
    response.end(`${bytes} ${hash.digest('hex')}\n`);
  } else {
    response.end(`${request.socket.remoteAddress} ${request.socket.remotePort}\n`);
  }
}

/** The pattern in buffers that may be kept: a stream holds several at a time. */
function* copies(bytes: number): Generator<Buffer> {
  for (const block of pattern(bytes)) yield Buffer.from(block);
}
