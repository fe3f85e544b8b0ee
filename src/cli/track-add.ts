// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import type { Family } from '../address.js';
import { UsageError } from '../errors.js';
import {
  parseTrackRule,
  type TrackRule,
  TrackRuleError,
  type TrackRuleText,
  trackRuleJson,
  trackRuleText,
} from '../track-rule.js';
import type { CommandFunction, OptionValues } from './command.js';
import { printObject } from './print.js';

/** `ctnat track add notrack`, `set`, `save` and `restore`. */
export function trackAdd(action: string): CommandFunction {
  return async (context) => {
    const wanted = readRule(ruleText(action, context.options));
    const product = await context.product();
    const rule = await product.trackAdd(wanted);
    await printObject(context, trackRuleJson(rule), () => `rule ${rule.id}: ${trackRuleText(rule)}\n`);
  };
}

const MATCHES = ['in', 'out', 'src', 'dst', 'proto', 'sport', 'dport', 'mark'] as const;

function ruleText(action: string, options: OptionValues): TrackRuleText {
  const { family, to } = options;
  const given = MATCHES.filter((name) => options[name] !== undefined);
  return {
    action: action === 'notrack' ? action : `mark ${action}${action === 'set' ? ` ${String(to)}` : ''}`,
    ...Object.fromEntries(given.map((name) => [name, String(options[name])])),
    ...(family !== undefined && { family: family as Family }),
  };
}

function readRule(text: TrackRuleText): TrackRule {
  try {
    return parseTrackRule(text);
  } catch (error) {
    if (!(error instanceof TrackRuleError)) throw error;
    throw new UsageError(`--${error.part === 'action' ? 'to' : error.part}: ${error.message}`, {
      cause: error,
    });
  }
}
