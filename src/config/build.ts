// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Makes a Config of a file whose shape is right: reads the texts, fills in defaults, checks what belongs together. */
import { type Cidr, parseAddress, parseCidr } from '../address.js';
import { DEFAULT_GC, DEFAULT_INTERFACE } from '../defaults.js';
import { parseDuration } from '../duration.js';
import { quoted } from '../errors.js';
import {
  checkInterfaceName,
  filteringFor,
  hasEim,
  type InterfaceConfig,
  mappingForAll,
} from '../interface-config.js';
import { isLimitPrefix, type Limits } from '../limits.js';
import { checkPortRanges, parsePortRange } from '../port-range.js';
import { zoneConflicts } from '../zone-conflict.js';
import { buildPcp } from './build-pcp.js';
import { buildRules } from './build-rules.js';
import { buildTimeouts } from './build-timeouts.js';
import { buildTrack } from './build-track.js';
import type { Config, EventSink } from './config.js';
import type { ConfigFile, FileInterface } from './file.js';
import type { Issue, Path } from './issue.js';
import type { YamlFile } from './yaml-file.js';

const DEFAULT_EVENT_TYPES = ['new', 'destroy'] as const;

/** Collects what is wrong, so that a file is judged as a whole. */
export class Judge {
  readonly issues: Issue[] = [];
  readonly #file: YamlFile;

  constructor(file: YamlFile) {
    this.#file = file;
  }

  /** Records an issue with the value at the path. */
  refuse(path: Path, message: string): void {
    this.issues.push({ offset: this.#file.offset(path), path, message });
  }

  /** What `read` returns; what it throws is recorded, and undefined returned. */
  read<T>(path: Path, read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.refuse(path, error.message);
      return undefined;
    }
  }

  /** Milliseconds of a duration between two bounds. */
  duration(
    path: Path,
    text: string,
    [min, max]: readonly [number, number],
    bounds: string,
  ): number | undefined {
    const ms = parseDuration(text);
    if (ms !== undefined && ms >= min && ms <= max) return ms;
    this.refuse(path, `expected a duration from ${bounds}, got ${quoted(text)}`);
    return undefined;
  }
}

/** The configuration; meaningless if the judge has recorded an issue. */
export function buildConfig(file: ConfigFile, judge: Judge): Config {
  const interfaces = buildInterfaces(file.interfaces ?? [], judge);
  const track = buildTrack(file.track ?? [], new Set(file.interfaces?.map(({ name }) => name)), judge);
  const xdp = interfaces.findIndex(({ mode }) => mode === 'xdp');
  if (track.length > 0 && xdp >= 0) {
    judge.refuse(['interfaces', xdp, 'mode'], 'XDP mode asks no rules for tracking (track); use tc or auto');
  }
  const metrics = file.metrics && buildListen(file.metrics.listen, judge);
  const pcp = file.pcp && buildPcp(file.pcp, interfaces, judge);
  return {
    interfaces,
    rules: buildRules(file.nat ?? [], new Set(file.interfaces?.map(({ name }) => name)), judge),
    track,
    exempt: buildExempt(file.exempt ?? [], judge),
    timeouts: buildTimeouts(file.timeouts ?? {}, judge),
    tables: buildTables(file.tables?.flows),
    gc: buildGc(file.gc ?? {}, judge),
    ...(metrics && { metrics }),
    events: buildEvents(file.events ?? [], judge),
    ...(pcp && { pcp }),
  };
}

function buildInterfaces(list: readonly FileInterface[], judge: Judge): InterfaceConfig[] {
  const seen = new Map<string, number>();
  const interfaces = list.map((each, i) => {
    const path = ['interfaces', i];
    judge.read([...path, 'name'], () => checkInterfaceName(each.name));
    const before = seen.get(each.name);
    if (before !== undefined) {
      judge.refuse([...path, 'name'], `${quoted(each.name)} is interfaces[${before}] already`);
    }
    seen.set(each.name, i);
    const { mapping: wanted = DEFAULT_INTERFACE.mapping, ports: ranges } = each;
    const mapping =
      typeof wanted === 'string' ? mappingForAll(wanted) : { ...DEFAULT_INTERFACE.mapping, ...wanted };
    const ports = ranges?.flatMap(
      (range, at) => judge.read([...path, 'ports', at], () => parsePortRange(String(range))) ?? [],
    );
    if (ports) judge.read([...path, 'ports'], () => checkPortRanges(ports));
    if (each.mode === 'xdp' && hasEim(mapping)) {
      judge.refuse([...path, 'mode'], 'endpoint-independent mappings are made by TC mode; use tc or auto');
    }
    return {
      name: each.name,
      masquerade: each.masquerade ?? DEFAULT_INTERFACE.masquerade,
      mode: each.mode ?? DEFAULT_INTERFACE.mode,
      mapping,
      filtering:
        judge.read([...path, 'filtering'], () => filteringFor(mapping, each.filtering)) ??
        DEFAULT_INTERFACE.filtering,
      ...(ports && { ports }),
      ...(each.mss !== undefined && { mss: each.mss }),
      ...(each.redirect && { redirect: true }),
      ...(each.zone && { zone: each.zone }),
      ...(each.limits && { limits: buildLimits(each.limits, [...path, 'limits'], judge) }),
    };
  });
  for (const { index, why } of zoneConflicts(interfaces)) {
    judge.refuse(['interfaces', index, 'zone'], `can not have zone ${interfaces[index]?.zone} ${why}`);
  }
  return interfaces;
}

function buildLimits(limits: Limits, path: Path, judge: Judge): Limits {
  const { ports, rate, burst, prefix = 64 } = limits;
  if (ports === undefined && rate === undefined) judge.refuse(path, 'give ports, rate or both');
  if (burst !== undefined && rate === undefined) judge.refuse([...path, 'burst'], 'give the rate, too');
  if (!isLimitPrefix(prefix)) judge.refuse([...path, 'prefix'], `expected 35 to 64, or 128, got ${prefix}`);
  return limits;
}

function buildExempt(list: readonly string[], judge: Judge): Cidr[] {
  return list.flatMap((text, i) => judge.read(['exempt', i], () => parseCidr(text)) ?? []);
}

function buildTables(flows: number | { ipv4?: number; ipv6?: number } = {}): Config['tables'] {
  if (typeof flows === 'number') return { flows4: flows, flows6: flows };
  const { ipv4, ipv6 } = flows;
  return { ...(ipv4 !== undefined && { flows4: ipv4 }), ...(ipv6 !== undefined && { flows6: ipv6 }) };
}

const GC_BOUNDS = [10, 3_600_000] as const;

function buildGc(gc: { minInterval?: string; maxInterval?: string }, judge: Judge): Config['gc'] {
  const read = (key: 'minInterval' | 'maxInterval') =>
    gc[key] === undefined ? undefined : judge.duration(['gc', key], gc[key], GC_BOUNDS, '10ms to 1h');
  const min = read('minInterval');
  const max = read('maxInterval');
  if (min !== undefined && max !== undefined && min > max) {
    judge.refuse(['gc', 'minInterval'], 'longer than maxInterval');
  }
  // One that is not given gives way to the other.
  return {
    minIntervalMs: min ?? Math.min(DEFAULT_GC.minIntervalMs, max ?? Number.POSITIVE_INFINITY),
    maxIntervalMs: max ?? Math.max(DEFAULT_GC.maxIntervalMs, min ?? 0),
  };
}

function buildListen(text: string, judge: Judge): Config['metrics'] {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):([0-9]{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  const isHost =
    host === 'localhost' || (host !== undefined && isAddress(host, match?.[1] ? 'ipv6' : 'ipv4'));
  if (host !== undefined && isHost && port >= 1 && port <= 65535) return { host, port };
  judge.refuse(
    ['metrics', 'listen'],
    `expected ADDRESS:PORT such as 127.0.0.1:9464 or [::1]:9464, got ${quoted(text)}`,
  );
  return undefined;
}

function isAddress(text: string, family: string): boolean {
  try {
    return parseAddress(text).family === family;
  } catch {
    return false;
  }
}

function buildEvents(list: NonNullable<ConfigFile['events']>, judge: Judge): EventSink[] {
  const seen = new Map<string, number>();
  return list.map(({ file, format = 'jsonl', types = [...DEFAULT_EVENT_TYPES] }, i) => {
    const path = ['events', i, 'file'];
    if (!file.startsWith('/') && file !== 'stdout') {
      judge.refuse(path, `expected an absolute path or stdout, got ${quoted(file)}`);
    }
    const before = seen.get(file);
    if (before !== undefined) judge.refuse(path, `${quoted(file)} is the file of events[${before}] already`);
    seen.set(file, i);
    return { file, format, types };
  });
}
