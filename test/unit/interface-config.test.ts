// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

import t from 'tap';
import { filteringFor, filteringText, mappingForAll } from '../../src/interface-config.js';

const [eim, apdm] = [mappingForAll('eim'), mappingForAll('apdm')];

t.test('filtering is chosen by protocol', async (t) => {
  t.same(filteringFor(eim, { udp: 'eif', tcp: 'adf' }), { udp: 'eif', tcp: 'adf' });
  t.same(filteringFor(eim, { tcp: 'apdf' }), { udp: 'eif', tcp: 'apdf' }, 'what is not said is a full cone');
  t.same(filteringFor(eim, 'adf'), { udp: 'adf', tcp: 'adf' }, 'one word is for both');
  t.same(
    filteringFor({ ...apdm, udp: 'eim' }, 'adf'),
    { udp: 'adf', tcp: 'apdf' },
    'that have such a mapping',
  );
  t.same(filteringFor(eim), { udp: 'eif', tcp: 'eif' });
  t.same(filteringFor(apdm), { udp: 'apdf', tcp: 'apdf' });
  t.equal(filteringText({ udp: 'eif', tcp: 'eif' }), 'eif');
  t.equal(filteringText({ udp: 'eif', tcp: 'apdf' }), 'udp=eif tcp=apdf');
});

t.test('a filter that lets others in needs an endpoint-independent mapping', async (t) => {
  t.throws(() => filteringFor(apdm, 'eif'), /filtering eif needs mapping eim for udp or tcp/);
  t.throws(() => filteringFor({ ...apdm, icmp: 'eim' }, 'adf'), /filtering adf needs mapping eim/);
  t.throws(
    () => filteringFor({ ...eim, tcp: 'apdm' }, { tcp: 'adf' }),
    /filtering adf of tcp needs mapping eim for tcp/,
  );
  t.same(filteringFor(apdm, 'apdf'), { udp: 'apdf', tcp: 'apdf' });
});
