// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Runs the programs ct_edit4 and ct_edit6 (bpf/edit.h) with one request. */
import type { Address } from './address.js';
import type { Datapath } from './datapath.js';
import { EDIT_REQUEST, type EditRequest, EditResult, editRequestCodec } from './generated/layouts.gen.js';

/** Words in network order, as the codec has them. */
type Words = number[];

/** An address as four words; IPv4's is the first. */
export function addressWords({ bytes }: Address): Words {
  const words = [0, 0, 0, 0];
  for (let i = 0; i < bytes.length; i++) words[i >> 2] = words[i >> 2]! * 256 + bytes[i]!;
  return words;
}

const NO_WORDS: Words = [0, 0, 0, 0];
const NO_TUPLE = { saddr: NO_WORDS, daddr: NO_WORDS, sport: 0, dport: 0 };

const NOTHING: EditRequest = {
  ether: new Array<number>(16).fill(0),
  packets: [0n, 0n],
  bytes: [0n, 0n],
  op: 0,
  result: EditResult.PENDING,
  slot: 0,
  fields: 0,
  timeout: 0,
  mark: 0,
  markMask: 0,
  heldSlot: 0,
  heldGen: 0,
  gen: 0,
  status: 0,
  zone: 0,
  proto: 0,
  state: 0,
  nat: 0,
  flags: 0,
  tuple: [NO_TUPLE, NO_TUPLE],
  ifindex: 0,
  vtag: [0, 0],
};

/** Does what the request says and returns it with its result. */
export function edit(
  datapath: Pick<Datapath, 'program'>,
  family: 4 | 6,
  request: Partial<EditRequest>,
): EditRequest {
  const data = Buffer.alloc(EDIT_REQUEST.size);
  editRequestCodec.write(viewOf(data), 0, { ...NOTHING, ...request });
  const program = datapath.program(`ct_edit${family}`);
  return editRequestCodec.read(viewOf(program.testRun({ data, dataOutSize: data.length }).data), 0);
}

function viewOf(data: Uint8Array): DataView {
  return new DataView(data.buffer, data.byteOffset, data.length);
}
