// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The configuration file's shape once config.schema.json has passed it: texts still unread. */
import type { Family } from '../address.js';
import type { EventFormat } from '../events/encoder.js';
import type { EventType } from '../events/event.js';
import type {
  AttachMode,
  FilteringMode,
  FilteringModes,
  MappingMode,
  MappingModes,
  Masquerade,
} from '../interface-config.js';
import type { Limits } from '../limits.js';

export interface FileInterface {
  name: string;
  masquerade?: Masquerade;
  mode?: AttachMode;
  mapping?: MappingMode | Partial<MappingModes>;
  filtering?: FilteringMode | Partial<FilteringModes>;
  ports?: (number | string)[];
  mss?: number | 'pmtu';
  redirect?: boolean;
  zone?: number;
  limits?: Limits;
}

export interface FileRule {
  dnat?: {
    in: string;
    src?: string;
    dst?: string;
    proto: number | string;
    dport: number | string;
    to: string | string[];
    mark?: number | string;
  };
  snat?: {
    out: string;
    src?: string;
    dst?: string;
    proto?: number | string;
    family?: Family;
    to: string | string[];
    spill?: boolean;
    mark?: number | string;
  };
  redirect?: {
    in: string;
    src?: string;
    dst?: string;
    family?: Family;
    proto: number | string;
    dport: number | string;
    to: number | string;
    mark?: number | string;
  };
  netmap?: {
    out: string;
    src: string;
    to: string;
    neutral?: boolean;
    proto?: number | string;
    mark?: number | string;
  };
}

/** A rule for tracking. */
export interface FileTrackRule {
  action: string;
  in?: string;
  out?: string;
  family?: Family;
  src?: string;
  dst?: string;
  proto?: number | string;
  sport?: number | string;
  dport?: number | string;
  mark?: number | string;
}

export interface FilePcp {
  inside: string[];
  outside?: string;
  allow?: string[];
  lifetime?: { min?: string; max?: string };
  limit?: number;
  ports?: (number | string)[];
  natPmp?: boolean;
}

export interface ConfigFile {
  interfaces?: FileInterface[];
  nat?: FileRule[];
  track?: FileTrackRule[];
  exempt?: string[];
  timeouts?: { preset?: string } & Record<string, string | Record<string, string>>;
  tables?: { flows?: number | { ipv4?: number; ipv6?: number } };
  gc?: { minInterval?: string; maxInterval?: string };
  metrics?: { listen: string };
  events?: { file: string; format?: EventFormat; types?: EventType[] }[];
  pcp?: FilePcp;
}
