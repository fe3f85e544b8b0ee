// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A flood of SYNs from spoofed addresses that come in by an interface of the namespace that this runs in.
// usage: node flood-main.js IFINDEX MAC SOURCE DESTINATION PORT PACKETS
import { FLOOD_PACKET, floodRequest } from './datapath/crowd.js';
import { openBuilt } from './datapath/load.js';

const BATCH = 10_000;

const [ifindex = '', mac = '', source = '', destination = '', port = '', packets = ''] =
  process.argv.slice(2);
const data = FLOOD_PACKET;
// struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
const context = Buffer.alloc(24);
context.writeUInt32LE(data.length, 4);
context.writeUInt32LE(Number(ifindex), 12);
const object = openBuilt('test/flood.bpf.o');
object.load();
const request = { source, destination, port: Number(port), answered: false };
object.map('request').map.set(Buffer.alloc(4), floodRequest(request, mac));
for (let sent = 0; sent < Number(packets); sent += BATCH) {
  object.program('flood').testRun({ data, context, liveFrames: true, repeat: BATCH });
  if (sent === 0) console.log('begun');
  await new Promise((resolve) => setImmediate(resolve)); // signals
}
console.log('done');
object.close();
