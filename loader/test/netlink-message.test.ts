// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import t from 'tap';
import { formatIp, formatLinkAddress } from '../src/ip-text.js';
import {
  buildAttribute,
  buildMessage,
  buildU32Attribute,
  readAttributes,
  readMessages,
  readText,
  readU32,
} from '../src/netlink-message.js';
import { decodeAddress, decodeRoute } from '../src/rtnetlink-decode.js';

t.test('messages are read as they were built, padding and all', async (t) => {
  const datagram = Buffer.concat([
    buildMessage(16, 0x301, 7, Buffer.from('abcde')),
    buildMessage(3, 0, 8),
    buildMessage(20, 2, 9, Buffer.from('ab'), Buffer.from('cd')),
  ]);

  const messages = [...readMessages(datagram)];

  t.same(
    messages.map(({ type, flags, sequence, body }) => [type, flags, sequence, body.toString()]),
    [
      [16, 0x301, 7, 'abcde'],
      [3, 0, 8, ''],
      [20, 2, 9, 'abcd'],
    ],
  );
});

t.test('attributes are read as they were built', async (t) => {
  const body = Buffer.concat([
    Buffer.from('head'),
    buildAttribute(3, Buffer.from('eth0\0')),
    buildU32Attribute(4, 1500),
    buildAttribute(18 | 0x8000, buildAttribute(1, Buffer.from('veth\0'))),
  ]);

  const attributes = readAttributes(body, 4);

  t.same([...attributes.keys()], [3, 4, 18]);
  t.equal(readText(attributes.get(3)), 'eth0');
  t.equal(readU32(attributes.get(4)), 1500);
  t.equal(
    readText(readAttributes(attributes.get(18)!).get(1)),
    'veth',
    'the nested flag is no part of the type',
  );
  t.equal(readU32(Buffer.alloc(2)), undefined);
  t.equal(readText(undefined), undefined);
});

t.test('lengths that lie are errors, not endless loops', async (t) => {
  for (const length of [0, 15, 17, 0xffffffff]) {
    const message = buildMessage(16, 0, 1);
    message.writeUInt32LE(length, 0);
    t.throws(() => [...readMessages(message)], { code: 'ERR_BPF_LAYOUT' }, `${length}`);
  }
  t.throws(() => [...readMessages(Buffer.alloc(9))], { code: 'ERR_BPF_LAYOUT' });
  for (const length of [0, 3, 9]) {
    const attribute = buildU32Attribute(1, 1);
    attribute.writeUInt16LE(length, 0);
    t.throws(() => readAttributes(attribute), { code: 'ERR_BPF_LAYOUT' }, `${length}`);
  }
});

t.test('messages of other families and cut ones are nothing', async (t) => {
  t.equal(decodeAddress(Buffer.from([7, 0, 0, 0, 1, 0, 0, 0])), undefined);
  t.equal(decodeAddress(Buffer.alloc(3)), undefined);
  t.equal(decodeRoute(Buffer.alloc(12)), undefined);
});

t.test('IPv6 is written as RFC 5952 says', async (t) => {
  const cases: [string, string][] = [
    ['00000000000000000000000000000000', '::'],
    ['00000000000000000000000000000001', '::1'],
    ['20010db8000000000000000000000000', '2001:db8::'],
    ['20010db8000000010000000000000001', '2001:db8:0:1::1'],
    ['20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
    ['20010db8000000010001000100010001', '2001:db8:0:1:1:1:1:1'],
    ['fe80000000000000abcdef0123456789', 'fe80::abcd:ef01:2345:6789'],
  ];
  for (const [hex, text] of cases) t.equal(formatIp(Buffer.from(hex, 'hex')), text, text);
});

t.test('other addresses', async (t) => {
  t.equal(formatIp(Buffer.from([192, 0, 2, 1])), '192.0.2.1');
  t.throws(() => formatIp(Buffer.alloc(5)), { code: 'ERR_BPF_LAYOUT' });
  t.equal(formatLinkAddress(Buffer.from([2, 0, 10, 255, 0, 1])), '02:00:0a:ff:00:01');
  t.equal(formatLinkAddress(Buffer.alloc(0)), '');
});
