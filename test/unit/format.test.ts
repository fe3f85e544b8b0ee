// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Flows and mappings as text and JSON.
import { test } from 'tap';
import { MAPPING_FORMATTER } from '../../src/cli/format-mapping.js';
import { tableText } from '../../src/cli/table.js';
import { type Flow, statusBits, statusNames } from '../../src/flow.js';
import { FLOW_FORMATTER } from '../../src/format-flow.js';
import { exampleFlow, exampleMapping, pingFlow } from '../helpers/fake-product.js';

const CONTRACT_FLOW =
  '{"family":"ipv4","proto":"tcp","protonum":6,"state":"ESTABLISHED","status":["SEEN_REPLY","ASSURED","SRC_NAT"],' +
  '"original":{"src":"10.0.0.2","dst":"192.0.2.9","sport":40000,"dport":80,"packets":12,"bytes":3400},' +
  '"reply":{"src":"192.0.2.9","dst":"198.51.100.1","sport":80,"dport":40000,"packets":10,"bytes":9000},' +
  '"timeout":7439,"age":12.4,"mark":0,"zone":0,"iface":"eth0"}';

test('the contract example of a flow is written byte for byte', async (t) => {
  t.equal(FLOW_FORMATTER.json(exampleFlow()), CONTRACT_FLOW);
});

test('JSON of any flow holds the flow without its internals', async (t) => {
  const gre: Flow = {
    ...pingFlow(),
    proto: 'gre',
    protonum: 47,
    status: statusNames(0),
    original: { src: '10.0.0.3', dst: '192.0.2.9', packets: 1, bytes: 84 },
    reply: { src: '192.0.2.9', dst: '10.0.0.3', packets: 0, bytes: 0 },
  };
  const odd = exampleFlow({ iface: 'a"b\\c\u001b', mark: 0xffffffff, zone: 65535, age: 1 / 3 });
  for (const flow of [exampleFlow(), pingFlow(), gre, odd]) {
    const { slot: _slot, gen: _gen, natType: _natType, ifindex: _ifindex, ...shown } = flow;
    t.same(
      JSON.parse(FLOW_FORMATTER.json(flow)),
      { ...shown, age: Math.round(flow.age * 10) / 10 },
      flow.proto,
    );
  }
});

test('flows as text have the shape of Cilium lines', async (t) => {
  t.equal(
    FLOW_FORMATTER.text(exampleFlow()),
    'TCP OUT 10.0.0.2:40000 -> 192.0.2.9:80 expires=7439 State=ESTABLISHED TxPackets=12 TxBytes=3400 ' +
      'RxPackets=10 RxBytes=9000 Flags=0x0016 [ SEEN_REPLY ASSURED SRC_NAT ] XLATE_SRC 198.51.100.1:40000 ' +
      'Mark=0 Zone=0 Age=12.4sec Iface=eth0',
  );
  t.equal(
    FLOW_FORMATTER.text(pingFlow()),
    'ICMP OUT 10.0.0.3:77 -> 192.0.2.9:0 expires=59 Type=8 Code=0 TxPackets=1 TxBytes=84 ' +
      'RxPackets=0 RxBytes=0 Flags=0x0010 [ SRC_NAT ] XLATE_SRC 198.51.100.1:78 Mark=0 Zone=0 Age=12.4sec Iface=eth0',
  );
});

test('a forwarded port reads IN with the inside as XLATE_DST, a hairpin has both', async (t) => {
  const hairpin = exampleFlow({
    status: statusNames(statusBits(['SRC_NAT', 'DST_NAT'])),
    original: { src: '10.0.0.3', dst: '198.51.100.1', sport: 5, dport: 8080, packets: 1, bytes: 60 },
    reply: { src: '10.0.0.2', dst: '198.51.100.1', sport: 80, dport: 6, packets: 0, bytes: 0 },
  });

  t.match(FLOW_FORMATTER.text(hairpin), /^TCP IN 10\.0\.0\.3:5 -> 198\.51\.100\.1:8080 expires=/);
  t.match(FLOW_FORMATTER.text(hairpin), / XLATE_SRC 198\.51\.100\.1:6 XLATE_DST 10\.0\.0\.2:80 /);
});

test('IPv6 stands in brackets, an interface can not write escapes', async (t) => {
  const flow = exampleFlow({
    family: 'ipv6',
    proto: 'icmpv6',
    protonum: 58,
    status: statusNames(0),
    original: { src: 'fd00::2', dst: '2001:db8::9', type: 128, code: 0, id: 7, packets: 1, bytes: 80 },
    reply: { src: '2001:db8::9', dst: 'fd00::2', type: 129, code: 0, id: 7, packets: 0, bytes: 0 },
    iface: 'a\u001b[31m',
  });

  t.match(FLOW_FORMATTER.text(flow), /^ICMPv6 OUT \[fd00::2\]:7 -> \[2001:db8::9\]:0 /);
  t.match(FLOW_FORMATTER.text(flow), / Flags=0x0000 \[ \] /);
  t.ok(FLOW_FORMATTER.text(flow).endsWith(' Iface=a\\u001b[31m'));
});

test('mappings as text and JSON', async (t) => {
  const forward = exampleMapping({
    type: 'dnat',
    internal: { address: '10.0.0.2', port: 80 },
    external: { address: '198.51.100.1', port: 8080 },
    remote: { address: '203.0.113.5', port: 999 },
  });
  const shared = exampleMapping({ remote: null, flows: 3, age: 0.04 });

  t.equal(
    MAPPING_FORMATTER.json(exampleMapping()),
    '{"family":"ipv4","proto":"tcp","protonum":6,"type":"masquerade","iface":"eth0",' +
      '"internal":{"address":"10.0.0.2","port":40000},"external":{"address":"198.51.100.1","port":40000},' +
      '"remote":{"address":"192.0.2.9","port":80},"age":12.4,"flows":1}',
  );
  t.same(JSON.parse(MAPPING_FORMATTER.json(shared)), { ...shared, age: 0 });
  t.equal(
    MAPPING_FORMATTER.text(exampleMapping()),
    'TCP OUT 10.0.0.2:40000 -> 192.0.2.9:80 XLATE_SRC 198.51.100.1:40000 Created=12sec ago Type=masquerade Flows=1 Iface=eth0',
  );
  t.equal(
    MAPPING_FORMATTER.text(forward),
    'TCP IN 203.0.113.5:999 -> 198.51.100.1:8080 XLATE_DST 10.0.0.2:80 Created=12sec ago Type=dnat Flows=1 Iface=eth0',
  );
  t.match(MAPPING_FORMATTER.text(shared), / -> \*:\* XLATE_SRC /);
});

test('status names are shared and go back to their bits', async (t) => {
  const shown = [1, 2, 4, 16, 32, 1024];
  for (let i = 0; i < 64; i++) {
    const bits = shown.reduce((sum, bit, at) => (i & (1 << at) ? sum | bit : sum), 0);
    t.equal(statusBits(statusNames(bits)), bits);
    t.equal(statusNames(bits | 8), statusNames(bits), 'CONFIRMED is not shown');
  }
});

test('tables have colour only where it is asked for, and no trailing blanks', async (t) => {
  const rows = [
    ['a', 5],
    ['bbb', 12345],
  ] as const;

  t.equal(
    tableText(['X', 'COUNT'], rows, { numbers: [1], colour: false }),
    'X    COUNT\na        5\nbbb  12345\n',
  );
  t.match(tableText(['X', 'COUNT'], rows, { colour: true }), '\u001b[1mX');
  t.equal(tableText(['X'], [], { colour: false }), '');
  t.equal(tableText(['X'], [['\u001b[31m']], { colour: false }), 'X\n\\u001b[31m\n');
});
