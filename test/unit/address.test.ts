// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { test } from 'tap';
import {
  cidrContains,
  compareAddresses,
  formatAddress,
  formatCidr,
  formatEndpoint,
  formatIpv4,
  formatIpv6,
  isNotUnicast,
  parseAddress,
  parseCidr,
  prefixMask,
} from '../../src/address.js';

/** A small generator, so that a failure can be repeated. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state;
  };
}

test('addresses print in canonical form whatever form they were read in', async (t) => {
  for (const [text, canonical] of [
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['10.0.0.2', '10.0.0.2'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['fe80:0:0:0:0:0:0:0', 'fe80::'],
    ['::ffff:192.0.2.1', '::ffff:192.0.2.1'],
    ['::ffff:c000:201', '::ffff:192.0.2.1'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
  ] as const) {
    t.equal(formatAddress(parseAddress(text)), canonical, text);
  }
});

test('random addresses survive text and back', async (t) => {
  const next = numbers(1);
  for (let i = 0; i < 4000; i++) {
    const size = i % 2 === 0 ? 4 : 16;
    // Half of the IPv6 words are 0, so that every place and length of :: comes up.
    const bytes = new Uint8Array(size);
    for (let at = 0; at < size; at += 2) {
      const value = size === 16 && next() % 1000 < 500 ? 0 : next() >>> 16;
      bytes[at] = value >> 8;
      bytes[at + 1] = value;
    }
    const text = size === 4 ? formatIpv4(bytes) : formatIpv6(bytes);
    if (Buffer.compare(parseAddress(text).bytes, bytes) !== 0) t.fail(`${text} came back different`);
  }
});

test('formatting reads at an offset', async (t) => {
  const bytes = Uint8Array.from([9, 9, 10, 0, 0, 2, ...parseAddress('2001:db8::5').bytes]);

  t.equal(formatIpv4(bytes, 2), '10.0.0.2');
  t.equal(formatIpv6(bytes, 6), '2001:db8::5');
});

test('what is no address is refused with its text', async (t) => {
  const wrong = [
    '',
    '10.0.0',
    '10.0.0.256',
    '010.0.0.1',
    '0x0a.0.0.1',
    '1.2.3.4.5',
    '10.0.0.1 ',
    ':::',
    'g::1',
    '1:2:3:4:5:6:7:8:9',
    '[::1]',
  ];
  for (const text of wrong) {
    t.throws(() => parseAddress(text), { name: 'RangeError', message: /invalid address/ }, text);
  }
  t.throws(() => parseAddress('fe80::1%eth0'), { message: /has a zone/ });
});

test('prefixes clear what is behind them and print without a whole length', async (t) => {
  for (const [text, canonical] of [
    ['10.1.2.3/8', '10.0.0.0/8'],
    ['10.1.2.3/32', '10.1.2.3'],
    ['10.1.2.3', '10.1.2.3'],
    ['10.255.0.0/9', '10.128.0.0/9'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['2001:db8:ffff::/33', '2001:db8:8000::/33'],
    ['::1/128', '::1'],
  ] as const) {
    t.equal(formatCidr(parseCidr(text)), canonical, text);
  }
  for (const text of ['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/-1', '10.0.0.0/8/8', '::/129', '10.0.0.0/08x']) {
    t.throws(() => parseCidr(text), { name: 'RangeError', message: /invalid prefix length/ }, text);
  }
});

test('a prefix contains exactly the addresses that share its bits', async (t) => {
  const contains = (cidr: string, address: string) =>
    cidrContains(parseCidr(cidr), parseAddress(address).bytes);

  t.ok(contains('10.128.0.0/9', '10.255.255.255'));
  t.notOk(contains('10.128.0.0/9', '10.127.255.255'));
  t.ok(contains('0.0.0.0/0', '1.2.3.4'));
  t.ok(contains('10.0.0.1', '10.0.0.1'));
  t.notOk(contains('10.0.0.1', '10.0.0.2'));
  t.ok(contains('2001:db8::/33', '2001:db8:7fff::1'));
  t.notOk(contains('2001:db8::/33', '2001:db8:8000::1'));
  t.same([...prefixMask(parseCidr('10.0.0.0/12'))], [255, 240, 0, 0]);
});

test('addresses compare as numbers', async (t) => {
  t.ok(compareAddresses(parseAddress('10.0.0.9'), parseAddress('10.0.0.10')) < 0);
  t.equal(compareAddresses(parseAddress('::1'), parseAddress('0::1')), 0);
  t.ok(compareAddresses(parseAddress('::2'), parseAddress('::1')) > 0);
});

test('endpoints put brackets around IPv6 only', async (t) => {
  t.equal(formatEndpoint('10.0.0.2', 80), '10.0.0.2:80');
  t.equal(formatEndpoint('::1', 80), '[::1]:80');
});

test('multicast and unspecified addresses belong to no host', async (t) => {
  for (const text of ['0.0.0.0', '224.0.0.1', '255.255.255.255', '::', 'ff02::1']) {
    t.ok(isNotUnicast(parseAddress(text)), text);
  }
  for (const text of ['10.0.0.1', '127.0.0.1', '223.255.255.255', '::1', 'fe80::1']) {
    t.notOk(isNotUnicast(parseAddress(text)), text);
  }
});
