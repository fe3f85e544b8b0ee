// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { DEFAULT_INTERFACE } from '../defaults.js';
import { UsageError } from '../errors.js';
import type {
  AttachMode,
  FilteringMode,
  InterfaceOptions,
  MappingMode,
  Masquerade,
} from '../interface-config.js';
import {
  filteringFor,
  filteringText,
  hasEim,
  mappingForAll,
  mappingText,
  masqueradeText,
  parseMss,
  parseZone,
} from '../interface-config.js';
import { limitsText, parseLimitPorts, parseLimitPrefix, parseLimitRate } from '../limits.js';
import { parsePortRanges } from '../port-range.js';
import type { InterfaceStatus } from '../product.js';
import { isRefusal, refusalText } from '../refused-flavour.js';
import type { CommandFunction, OptionValues } from './command.js';
import { printList } from './print.js';
import { interfaceNames, optionValue } from './values.js';

/** `ctnat attach`. */
export const attach: CommandFunction = async (context) => {
  const names = interfaceNames(context.arguments);
  const options = interfaceOptions(context.options);
  const product = await context.product();
  const attached = await product.attach(names, options);
  const missing = await product.missing();
  for (const refusal of missing.filter(isRefusal)) context.note(refusalText(refusal));
  const jit = missing.find(({ name }) => name === 'jit');
  if (jit) context.note(`this kernel does not compile BPF programs (${jit.needs}): ${jit.instead}`);
  await printList(context, attached, () => attached.map(attachedText).join(''));
};

const MASQUERADE: Readonly<Record<string, Masquerade>> = { '4': 4, '6': 6, all: 'all' };

function interfaceOptions({
  masquerade,
  mode,
  mapping,
  filtering,
  ports,
  mss,
  redirect,
  zone,
  ...others
}: OptionValues): InterfaceOptions {
  const modes = mapping === undefined ? DEFAULT_INTERFACE.mapping : mappingForAll(mapping as MappingMode);
  return {
    masquerade: MASQUERADE[String(masquerade)] ?? DEFAULT_INTERFACE.masquerade,
    mode: (mode as AttachMode | undefined) ?? DEFAULT_INTERFACE.mode,
    mapping: modes,
    filtering: optionValue('--filtering', () => filteringFor(modes, filtering as FilteringMode | undefined)),
    ...(ports !== undefined && { ports: optionValue('--ports', () => parsePortRanges(String(ports))) }),
    ...(mss !== undefined && { mss: optionValue('--mss', () => parseMss(String(mss))) }),
    ...(redirect === true && { redirect: true }),
    ...(zone !== undefined && { zone: optionValue('--zone', () => parseZone(String(zone))) }),
    ...limitOptions(others),
  };
}

function limitOptions({
  limitPorts,
  limitRate,
  limitPrefix,
}: OptionValues): Pick<InterfaceOptions, 'limits'> {
  if (limitPorts === undefined && limitRate === undefined) {
    if (limitPrefix === undefined) return {};
    throw new UsageError(
      '--limit-prefix says whose limits they are; give --limit-ports or --limit-rate, too',
    );
  }
  return {
    limits: {
      ...(limitPorts !== undefined && {
        ports: optionValue('--limit-ports', () => parseLimitPorts(String(limitPorts))),
      }),
      ...(limitRate !== undefined && optionValue('--limit-rate', () => parseLimitRate(String(limitRate)))),
      ...(limitPrefix !== undefined && {
        prefix: optionValue('--limit-prefix', () => parseLimitPrefix(String(limitPrefix))),
      }),
    },
  };
}

function attachedText({
  name,
  mode,
  redirect,
  why,
  hooks,
  masquerade,
  mapping,
  filtering,
  zone,
  limits,
}: InterfaceStatus): string {
  const because = why === undefined ? '' : ` because ${why}`;
  const zoneText = zone === 0 ? '' : `, zone ${zone}`;
  const limitText = limits ? `, each inside host ${limitsText(limits)}` : '';
  return (
    `${name}: attached by ${mode}${redirect ? ' with redirect' : ''}${because} (${hooks.join(', ')}), ` +
    `masquerade ${masqueradeText(masquerade)}, mapping ${mappingText(mapping)}` +
    `${hasEim(mapping) ? `, filtering ${filteringText(filtering)}` : ''}${zoneText}${limitText}\n`
  );
}
