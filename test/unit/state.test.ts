// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What userspace remembers, and what of it changes.
import { test } from 'tap';
import { parseCidr } from '../../src/address.js';
import { withIds } from '../../src/apply.js';
import { TIMEOUT_PRESETS } from '../../src/defaults.js';
import { filteringFor, mappingForAll } from '../../src/interface-config.js';
import { decodeEntry, encodeEntry } from '../../src/ledger.js';
import { isSameRule, parseNatRule } from '../../src/nat-rule.js';
import { freeId } from '../../src/rules.js';
import { type Attachment, decodeState, emptyState, encodeState, type State } from '../../src/state.js';
import { stateChanges } from '../../src/state-changes.js';

function attachment(name: string, more: Partial<Attachment> = {}): Attachment {
  const mapping = mappingForAll('apdm');
  return {
    name,
    masquerade: false,
    mode: 'auto',
    mapping,
    filtering: filteringFor(mapping),
    ifindex: 5,
    hook: 'tcx',
    madeQdisc: false,
    ...more,
  };
}

const forward = (dport: string) =>
  parseNatRule({ kind: 'dnat', ifname: 'eth0', proto: 'tcp', dport, to: '10.0.0.2:80' });
const source = (to: string) => parseNatRule({ kind: 'snat', ifname: 'eth0', to });

const STATE: State = {
  ...emptyState('v5_3'),
  netns: 4026531840,
  interfaces: [
    attachment('eth0', { masquerade: 'all', ports: [{ min: 1024, max: 2047 }] }),
    attachment('ppp0', { ifindex: 0, hook: 'clsact', madeQdisc: true }),
  ],
  rules: [
    { ...source('198.51.100.4-198.51.100.7:20000-29999'), id: 2 },
    { ...forward('8080-8089'), id: 1 },
    { ...source('[2001:db8::1]:80-90'), id: 7 },
    { ...parseNatRule({ kind: 'snat', ifname: 'eth0', to: 'masquerade', family: 'ipv6' }), id: 3 },
  ],
  exempt: [parseCidr('10.0.0.0/8'), parseCidr('fd00::/8')],
  timeouts: TIMEOUT_PRESETS.netfilter,
};

test('a state comes back from its text', async (t) => {
  t.same(decodeState(encodeState(STATE)), STATE);
  t.same(decodeState(encodeState(emptyState('floor'))), emptyState('floor'));
});

test('an entry of the ledger comes back; one that was not written to its end does not', async (t) => {
  const entry = encodeEntry(41, STATE);
  t.equal(decodeEntry(entry)?.number, 41);
  t.same(decodeEntry(entry)?.state(), STATE);
  t.equal(decodeEntry(Buffer.alloc(entry.length)), undefined, 'never written');
  const old = encodeEntry(39, emptyState('floor'));
  for (const cut of [4, 8, 16, 40]) {
    const torn = Buffer.concat([entry.subarray(0, cut), old.subarray(cut)]);
    t.equal(decodeEntry(torn), undefined, `torn after ${cut} bytes`);
  }
});

test('a state that is too large is refused', async (t) => {
  // names that do not compress
  const name = () => Math.random().toString(36).slice(2, 15);
  const interfaces = Array.from({ length: 20_000 }, () => attachment(name()));
  t.throws(() => encodeEntry(1, { ...STATE, interfaces }), /can not remember so much/);
});

test('the lowest free number is the next id', async (t) => {
  t.equal(freeId([]), 1);
  t.equal(freeId(STATE.rules), 4);
  t.equal(freeId([{ ...forward('80'), id: 2 }]), 1);
});

test('a rule that was there keeps its id, a new one takes a free one', async (t) => {
  const wanted = [
    forward('81'),
    forward('8080-8089'),
    forward('82'),
    source('198.51.100.4-198.51.100.7:20000-29999'),
  ];
  t.same(
    withIds(wanted, STATE.rules, isSameRule).map(({ id }) => id),
    [3, 1, 4, 2],
  );
});

test('changes are told one by one', async (t) => {
  const after: State = {
    ...STATE,
    interfaces: [attachment('eth0', { masquerade: 4 }), attachment('lan0')],
    rules: [STATE.rules[1]!, STATE.rules[0]!, { ...forward('443'), id: 4 }, STATE.rules[3]!],
    exempt: [parseCidr('fd00::/8'), parseCidr('192.168.0.0/16')],
    timeouts: { ...STATE.timeouts, udp: 45_000 },
  };
  t.same(stateChanges(STATE, after), [
    'change eth0: masquerade ipv4, mapping apdm, mode auto',
    'attach lan0: masquerade no, mapping apdm, mode auto',
    'detach ppp0',
    'delete rule 7: snat -o eth0 --to [2001:db8::1]:80-90',
    'add rule 4: dnat -i eth0 -p tcp --dport 443 --to 10.0.0.2:80',
    'try the rules in another order',
    'exempt 192.168.0.0/16',
    'do not exempt 10.0.0.0/8',
    'timeout udp.timeout: 45s',
  ]);
  t.same(stateChanges(after, after), []);
});
