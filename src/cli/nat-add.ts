// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import type { Family } from '../address.js';
import { UsageError } from '../errors.js';
import {
  type NatRule,
  NatRuleError,
  type NatRuleText,
  natRuleJson,
  natRuleText,
  parseNatRule,
} from '../nat-rule.js';
import type { CommandFunction, Context, OptionValues } from './command.js';
import { printObject } from './print.js';

/** `ctnat nat add snat`. */
export const natAddSnat: CommandFunction = (context) => {
  const family = context.options.family as Family | undefined;
  return addRule(context, {
    kind: 'snat',
    ifname: String(context.options.out),
    ...(family !== undefined && { family }),
    ...(context.options.spill === true && { spill: true }),
    ...commonText(context.options),
  });
};

/** `ctnat nat add dnat`. */
export const natAddDnat: CommandFunction = (context) =>
  addRule(context, {
    kind: 'dnat',
    ifname: String(context.options.in),
    dport: String(context.options.dport),
    ...commonText(context.options),
  });

/** `ctnat nat add redirect`. */
export const natAddRedirect: CommandFunction = (context) => {
  const family = context.options.family as Family | undefined;
  return addRule(context, {
    kind: 'redirect',
    ifname: String(context.options.in),
    dport: String(context.options.dport),
    ...(family !== undefined && { family }),
    ...commonText(context.options),
  });
};

/** `ctnat nat add netmap`. */
export const natAddNetmap: CommandFunction = (context) =>
  addRule(context, {
    kind: 'netmap',
    ifname: String(context.options.out),
    ...(context.options.neutral === true && { neutral: true }),
    ...commonText(context.options),
  });

function commonText({ src, dst, proto, to, mark }: OptionValues): Omit<NatRuleText, 'kind' | 'ifname'> {
  return {
    ...(src !== undefined && { src: String(src) }),
    ...(dst !== undefined && { dst: String(dst) }),
    ...(proto !== undefined && { proto: String(proto) }),
    ...(mark !== undefined && { mark: String(mark) }),
    to: String(to),
  };
}

async function addRule(context: Context, text: NatRuleText): Promise<void> {
  const wanted = readRule(text);
  const product = await context.product();
  const rule = await product.natAdd(wanted);
  await printObject(context, natRuleJson(rule), () => `rule ${rule.id}: ${natRuleText(rule)}\n`);
}

function readRule(text: NatRuleText): NatRule {
  try {
    return parseNatRule(text);
  } catch (error) {
    if (!(error instanceof NatRuleError)) throw error;
    const isIncoming = text.kind === 'dnat' || text.kind === 'redirect';
    const option = error.part === 'ifname' ? (isIncoming ? 'in' : 'out') : error.part;
    throw new UsageError(`--${option}: ${error.message}`, { cause: error });
  }
}
