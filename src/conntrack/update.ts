// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** `-U`: the flows that match are changed and shown as they are then. */
import { type Flow, statusBits } from '../flow.js';
import type { FlowChange } from '../flow-editor.js';
import { OperationError } from './failure.js';
import { EXPECTED, SETTABLE } from './insert.js';
import { ALL_LABELS } from './labels.js';
import { matchingFlows } from './list.js';
import type { FlowOptions } from './request.js';
import type { Call, Status } from './session.js';

export async function update(call: Call): Promise<Status> {
  const { request, product } = call;
  if ((request.flow.status ?? 0) & EXPECTED) throw new OperationError('Device or resource busy');
  const printer = call.printer({ use: 2, hidden: ['start'], xml: { begin: false, end: false } });
  const editor = product.flowEditor();
  for (const flow of matchingFlows(call, true)) {
    const change = changeOf(request.flow, flow, editor.labelsOf(flow));
    if (Object.keys(change).length === 0) continue;
    const changed = editor.update(flow, change);
    if (changed) await printer.print(changed);
  }
  await printer.end();
  await call.sum(printer.count, 'updated');
  return printer.count === 0 && !call.isBatch ? 1 : 0;
}

/**
 * What the options change of this flow; empty if it is so already. Labels that it has count as added, and those that
 * it has not as taken away, as long as it has any.
 */
function changeOf(options: FlowOptions, flow: Flow, labels: bigint): FlowChange {
  const { timeout, mark, state } = options;
  const status = (options.status ?? 0) & SETTABLE & ~statusBits(flow.status);
  const marked = mark ? ((flow.mark & ~mark.mask) ^ mark.value) >>> 0 : flow.mark;
  const { add, remove } = options.labels;
  const labelled = (labels & ~(remove ?? 0n)) | ((add ?? 0n) & ALL_LABELS);
  const isLabelled = add !== undefined || (remove !== undefined && labels !== 0n);
  return {
    ...(timeout !== undefined && { timeout }),
    ...(mark && marked !== flow.mark && { mark }),
    ...(status !== 0 && { status }),
    ...(state !== undefined && state !== flow.state && { state }),
    ...(isLabelled && { labels: labelled }),
  };
}
