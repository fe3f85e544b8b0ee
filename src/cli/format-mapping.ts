// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** NAT mappings as text and JSON. */

import { endpointText, ifaceJson, ifaceText, protoText, tenths } from '../format-flow.js';
import { isDestinationNat, type Mapping } from '../mapping.js';
import type { Formatter } from './print.js';

export const MAPPING_FORMATTER: Formatter<Mapping> = { text: mappingText, json: mappingJson };

/** The contract's object; members in its order. */
function mappingJson(mapping: Mapping): string {
  const { internal, external, remote } = mapping;
  return (
    `{"family":"${mapping.family}","proto":"${mapping.proto}","protonum":${mapping.protonum}` +
    `,"type":"${mapping.type}","iface":${ifaceJson(mapping.iface)}` +
    `,"internal":{"address":"${internal.address}","port":${internal.port}}` +
    `,"external":{"address":"${external.address}","port":${external.port}}` +
    `,"remote":${remote ? `{"address":"${remote.address}","port":${remote.port}}` : 'null'}` +
    `,"age":${tenths(mapping.age)},"flows":${mapping.flows}` +
    `${mapping.lifetime === undefined ? '' : `,"lifetime":${mapping.lifetime}`}}`
  );
}

/**
 * One line in the shape of Cilium's: OUT with XLATE_SRC where the source is translated, IN with XLATE_DST
 * where the destination is. `*:*` is the remote of an endpoint-independent mapping.
 */
function mappingText(mapping: Mapping): string {
  const { internal, external } = mapping;
  const inside = endpointText(internal.address, internal.port);
  const outside = endpointText(external.address, external.port);
  const remote = mapping.remote ? endpointText(mapping.remote.address, mapping.remote.port) : '*:*';
  const translation = isDestinationNat(mapping)
    ? `IN ${remote} -> ${outside} XLATE_DST ${inside}`
    : `OUT ${inside} -> ${remote} XLATE_SRC ${outside}`;
  return (
    `${protoText(mapping.proto)} ${translation} Created=${Math.floor(mapping.age)}sec ago` +
    ` Type=${mapping.type} Flows=${mapping.flows} Iface=${ifaceText(mapping.iface)}` +
    (mapping.lifetime === undefined ? '' : ` Lifetime=${mapping.lifetime}sec`)
  );
}
