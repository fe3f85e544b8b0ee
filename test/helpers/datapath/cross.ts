// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A packet that crosses the router, with its mark behind each hook; and the marks of flows.
import { maps } from '../../../src/generated/layouts.gen.js';
import type { Datapath, StepResult } from '../datapath-fixture.js';
import type { InterfaceName } from './step.js';

export interface Marks {
  /** Of the packet, when it comes. */
  given?: number;
  /** What the stack marks it with between the hooks; left out: it stays as ingress leaves it. */
  between?: number;
}

/** In by one interface and out by the other. */
export function cross(
  datapath: Datapath,
  from: InterfaceName,
  to: InterfaceName,
  packet: Uint8Array,
  { given = 0, between }: Marks = {},
): { ingress: StepResult; egress: StepResult } {
  const ingress = datapath.step({ hook: 'ingress', at: from, packet, mark: given });
  const egress = datapath.step({
    hook: 'egress',
    at: to,
    from,
    packet: ingress.packet,
    tcIndex: ingress.tcIndex,
    mark: between ?? ingress.mark,
  });
  return { ingress, egress };
}

/** Marks of the flows of a family. */
export function flowMarks(datapath: Datapath, family: 4 | 6): number[] {
  const markOf = (slot: number): number =>
    datapath.map(family === 4 ? maps.extras4 : maps.extras6).get(slot)!.mark;
  return datapath.flows(family).map(({ slot }) => markOf(slot));
}
