// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Does what a conntrack(8) command line asks for, on ctnat's table. */

import { PrivilegeError } from '../privileges.js';
import { events } from './events.js';
import { expectCommand } from './expect.js';
import { BANNER, ConntrackError, ConntrackUsageError, OperationError, told } from './failure.js';
import { HELP } from './help.js';
import { insert } from './insert.js';
import { get, list, remove } from './list.js';
import { readRequests } from './load-file.js';
import { type ParseOptions, parse } from './parse.js';
import type { Request } from './request.js';
import { Call, type Session, type Status } from './session.js';
import { expectStatisticsLine, statisticsLine } from './statistics.js';
import { update } from './update.js';

/** Which capability it is really, the line behind it says. */
const UNPRIVILEGED = new OperationError('sorry, you must be root or get CAP_NET_ADMIN capability to do this');

/**
 * @param words those behind `conntrack`
 * @returns the exit status; what went wrong on the command line or in the table is told already
 * @throws what the product throws: ctnat is not attached, a privilege is missing
 */
export async function runConntrack(words: readonly string[], session: Session): Promise<Status> {
  const warnings: string[] = [];
  const options: ParseOptions = {
    ...(session.labelFile !== undefined && { labelFile: session.labelFile }),
    warn: (line) => warnings.push(line),
  };
  try {
    const file = fileToLoad(words);
    const requests =
      file === undefined ? [parse(words, options)] : await readRequests(file, session, options);
    await session.tell(warnings.splice(0).join(''));
    for (const request of requests) {
      const status = await runRequest(request, session, file !== undefined);
      if (status !== 0) return status;
    }
    return 0;
  } catch (error) {
    if (error instanceof PrivilegeError) await session.tell(UNPRIVILEGED.lines);
    if (!(error instanceof ConntrackError || error instanceof ConntrackUsageError)) throw error;
    await session.tell(warnings.join('') + error.lines);
    return error.status;
  }
}

/** `-R` is an option only as the first word; what stands behind its file is passed over. */
function fileToLoad([first, file]: readonly string[]): string | undefined {
  return first === '-R' || first === '--load-file' ? file : undefined;
}

async function runRequest(request: Request, session: Session, isBatch: boolean): Promise<Status> {
  const { command, table, netns, pinPath } = request;
  if (command === undefined || command === 'h') {
    await session.write(HELP);
    return 0;
  }
  if (command === 'V') {
    await session.write(`${BANNER}\n`);
    return 0;
  }
  if (table === 'expect' && command !== 'S') return await expectCommand(request, session);
  const product = await session.product({
    ...(netns !== undefined && { netns }),
    ...(pinPath !== undefined && { pinPath }),
  });
  return await runCommand(new Call(request, product, session, isBatch));
}

/** A command on the table of flows. */
export async function runCommand(call: Call): Promise<Status> {
  const { request, product, session } = call;
  switch (request.command) {
    case 'L':
      return await list(call);
    case 'G':
      return await get(call);
    case 'D':
      return await remove(call);
    case 'I':
    case 'A':
      return await insert(call);
    case 'U':
      return await update(call);
    case 'E':
      return await events(call);
    case 'F':
      return await flush(call);
    case 'C':
      await session.write(`${product.countFlows({})}\n`);
      return 0;
    case 'S': {
      const line = request.table === 'expect' ? expectStatisticsLine : statisticsLine;
      await session.write(product.flowEditor().statistics().map(line).join(''));
      return 0;
    }
    default:
      throw new OperationError('Operation not supported');
  }
}

/** `-F`: every flow, or every flow of a family. */
async function flush({ request, product, session }: Call): Promise<Status> {
  const { family } = request.flow;
  if (family === undefined) product.flushFlows();
  else product.deleteFlows({ family: family === 4 ? 'ipv4' : 'ipv6' });
  await session.tell(told('connection tracking table has been emptied.'));
  return 0;
}
