// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Which addresses of an interface are its own for NAT.
import type { AddressFlag, InterfaceAddress } from 'libbpf-ts';
import { test } from 'tap';
import { masqueradeAddress, ownAddresses } from '../../src/own-address.js';

function own(address: string, flags: AddressFlag[] = [], scope = 0, ifindex = 2): InterfaceAddress {
  return { ifindex, family: address.includes(':') ? 'ipv6' : 'ipv4', address, prefix: 24, scope, flags };
}

const CHOICES: Record<string, [InterfaceAddress[], string | undefined]> = {
  'the first primary one': [
    [own('192.0.2.9', ['secondary']), own('192.0.2.1'), own('192.0.2.2')],
    '192.0.2.1',
  ],
  'none of the link alone': [[own('169.254.3.4', [], 253)], undefined],
  'none of another interface': [[own('192.0.2.1', [], 0, 3)], undefined],
  'IPv6: a routed one before a unique local one': [[own('fd00::1'), own('2001:db8::1')], '2001:db8::1'],
  'IPv6: one that stays before a temporary one': [
    [own('2001:db8::7', ['temporary']), own('2001:db8::1')],
    '2001:db8::1',
  ],
  'IPv6: a unique local one before a deprecated one': [
    [own('2001:db8::1', ['deprecated']), own('fd00::1')],
    'fd00::1',
  ],
  'IPv6: a deprecated one before none': [[own('2001:db8::1', ['deprecated'])], '2001:db8::1'],
  'IPv6: none that may be another host’s': [
    [own('2001:db8::1', ['tentative']), own('2001:db8::2', ['dadfailed'])],
    undefined,
  ],
  'IPv6: not the link-local one': [[own('fe80::1', [], 253)], undefined],
};

for (const [what, [addresses, expected]] of Object.entries(CHOICES)) {
  test(`masquerade takes ${what}`, async (t) => {
    t.equal(
      masqueradeAddress(addresses, 2, what.startsWith('IPv6') || expected?.includes(':') ? 'ipv6' : 'ipv4'),
      expected,
    );
  });
}

test('a forward is for secondary addresses too, not for link-local ones', async (t) => {
  const all = [
    own('192.0.2.1'),
    own('192.0.2.9', ['secondary']),
    own('169.254.3.4', [], 253),
    own('fd00::1'),
  ];
  t.same(ownAddresses(all, 2, 'ipv4'), ['192.0.2.1', '192.0.2.9']);
  t.same(ownAddresses(all, 2, 'ipv6'), ['fd00::1']);
});
