// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// How a packet gets to one hook of the datapath and back: by a test run where the kernel can do that (harness.ts),
// over a real interface where it can not (wire.ts).
import { feature } from 'libbpf-ts';
import { HarnessStepper } from './harness.js';
import type { Hooks } from './hooks.js';
import type { Network, StepOptions, StepResult } from './step.js';
import { WireStepper } from './wire.js';

export interface Stepper {
  readonly kind: StepperKind;
  /** Puts a packet through one hook. */
  step(network: Network, options: StepOptions): StepResult;
  close(): void;
}

export type StepperKind = 'harness' | 'wire';

let kind: StepperKind | undefined;

/**
 * The way that this kernel allows: CTNAT_STEPPER, or else what loading and running the harness says. From 5.10 on, by
 * its bpf_redirect_neigh, a kernel loads it, and one that does not is a fault of ours.
 *
 * @throws what the load has thrown
 */
export function stepperKind(): StepperKind {
  const asked = process.env.CTNAT_STEPPER;
  if (asked === 'harness' || asked === 'wire') return asked;
  if (asked) throw new RangeError(`CTNAT_STEPPER is ${asked}: it can be harness or wire`);
  kind ??= probe();
  return kind;
}

function probe(): StepperKind {
  try {
    return HarnessStepper.probe() ? 'harness' : 'wire';
  } catch (error) {
    if (feature('redirect-neigh').available) throw error;
    return 'wire';
  }
}

/** Leads to the hooks of a loaded datapath. The caller closes it. */
export function openStepper(network: Network, hooks: Hooks): Stepper {
  return stepperKind() === 'harness' ? new HarnessStepper(hooks) : new WireStepper(network, hooks);
}
