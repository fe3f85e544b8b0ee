// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** `-L`, `-G` and `-D`: the flows that match are shown, or deleted and shown. */
import type { Flow } from '../flow.js';
import { OperationError } from './failure.js';
import { flowQuery, isAskedFor } from './match.js';
import type { Call, Status } from './session.js';
import { tupleQuery } from './tuple.js';

/** The flows that the request is about; those that change meanwhile may come or not. */
export function* matchingFlows({ request, product }: Call, changes = false): Generator<Flow> {
  if (request.table !== 'conntrack') return;
  const { filter, matches } = flowQuery(request.flow, product.flowEditor(), changes);
  for (const flow of product.flows(filter)) if (matches(flow)) yield flow;
}

/** `-L`; with `-z` each flow's counters begin anew once they are read. */
export async function list(call: Call): Promise<Status> {
  const printer = call.printer({ use: 1 });
  const editor = call.request.zero ? call.product.flowEditor() : undefined;
  for (const flow of matchingFlows(call)) {
    await printer.print(flow);
    editor?.zero(flow);
  }
  await printer.end();
  await call.sum(printer.count, 'shown');
  return 0;
}

/** `-G`: one flow, by a whole tuple of either direction. */
export async function get(call: Call): Promise<Status> {
  const { request, product } = call;
  const editor = product.flowEditor();
  const flow = editor.find(tupleQuery(request.flow));
  if (!flow) throw new OperationError("such conntrack doesn't exist");
  const printer = call.printer({ use: 2, xml: { begin: true, end: false } });
  if (isAskedFor(request.flow, editor, flow)) await printer.print(flow);
  await printer.end();
  await call.sum(printer.count, 'shown');
  return printer.count === 0 ? 1 : 0;
}

/** `-D`. */
export async function remove(call: Call): Promise<Status> {
  const printer = call.printer({
    use: 1,
    command: 'D',
    hidden: ['start', 'labels'],
    xml: { begin: false, end: false },
  });
  const editor = call.product.flowEditor();
  for (const flow of matchingFlows(call)) if (editor.delete(flow)) await printer.print(flow);
  await printer.end();
  await call.sum(printer.count, 'deleted');
  return printer.count === 0 && !call.isBatch ? 1 : 0;
}
