// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Serves the counters to Prometheus: GET /metrics. Everything is read from the kernel when it is asked for. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { formatEndpoint } from './address.js';
import type { AgentLog } from './agent-log.js';
import { CtnatError, errorLine } from './errors.js';
import { METRICS_TYPE, renderMetrics } from './metrics-text.js';
import type { PcpCounts } from './pcp/server.js';

type Counts = () => PcpCounts | undefined;

export interface Listen {
  readonly host: string;
  readonly port: number;
}

export class MetricsServer {
  readonly listen: Listen;
  readonly #server: Server;

  private constructor(listen: Listen, server: Server) {
    this.listen = listen;
    this.#server = server;
  }

  /**
   * @param pcp what the agent's PCP server has to tell, if there is one
   * @throws CtnatError if the address cannot be listened on
   */
  static async start(pinPath: string, listen: Listen, log: AgentLog, pcp: Counts): Promise<MetricsServer> {
    const server = createServer((request, response) => {
      answer(pinPath, pcp, request, response).catch((error: unknown) => {
        log.error(`can not serve metrics: ${errorLine(error)}`);
        if (!response.headersSent) response.writeHead(500);
        response.end();
      });
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        const endpoint = formatEndpoint(listen.host, listen.port);
        reject(
          new CtnatError(
            `can not serve metrics on ${endpoint} (metrics.listen): ${error.code}; use another address or port`,
            { cause: error },
          ),
        );
      });
      server.listen(listen.port, listen.host, resolve);
    });
    server.on('error', (error) => log.error(`metrics: ${errorLine(error)}`));
    return new MetricsServer(listen, server);
  }

  /** Ends it, open connections included. */
  async close(): Promise<void> {
    await new Promise((resolve) => {
      this.#server.close(resolve);
      this.#server.closeAllConnections();
    });
  }
}

async function answer(
  pinPath: string,
  pcp: Counts,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = request.url?.split('?')[0];
  if (path !== '/metrics') {
    response.writeHead(404).end('see /metrics\n');
    return;
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { Allow: 'GET, HEAD' }).end();
    return;
  }
  const text = await renderMetrics(pinPath, pcp());
  response.writeHead(200, { 'Content-Type': METRICS_TYPE }).end(text);
}
