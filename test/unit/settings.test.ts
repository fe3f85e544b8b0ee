// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Timeouts in ticks, and the settings of new tables.
import { test } from 'tap';
import { TIMEOUT_PRESETS } from '../../src/defaults.js';
import { CtTimeout, Layout, SettingsFlags } from '../../src/generated/layouts.gen.js';
import { decodeTimeouts, encodeTimeouts, initialSettings } from '../../src/settings.js';
import { nowTicks, TICK_MS, tickDifference, ticksOfMs } from '../../src/ticks.js';
import { MAX_TIMEOUT_MS, TIMEOUT_NAMES } from '../../src/timeouts.js';

test('ticks are never less than what was asked for, and at most one more', async (t) => {
  for (const ms of [1, 17, 100, 1000, 120_000, 432_000_000, MAX_TIMEOUT_MS]) {
    const ticks = ticksOfMs(ms);
    t.ok(ticks * TICK_MS >= ms && (ticks - 1) * TICK_MS < ms, `${ms} ms`);
    t.ok(ticks < 2 ** 31, 'and a deadline can be told from the past');
  }
  t.equal(ticksOfMs(0), 1);
});

test('ticks are compared across the end of 32 bits', async (t) => {
  t.equal(tickDifference(5, 0xffff_fffe), 7);
  t.equal(tickDifference(0xffff_fffe, 5), -7);
  t.ok(nowTicks() >= 0 && nowTicks() < 2 ** 32);
});

for (const [name, timeouts] of Object.entries(TIMEOUT_PRESETS)) {
  test(`the preset ${name} comes back to within a tick`, async (t) => {
    const back = decodeTimeouts(encodeTimeouts(timeouts));
    for (const each of TIMEOUT_NAMES) {
      t.ok(back[each] >= timeouts[each] && back[each] - timeouts[each] <= TICK_MS, each);
    }
  });
}

test('each timeout has its place', async (t) => {
  const ticks = encodeTimeouts({ ...TIMEOUT_PRESETS.rfc, udpStream: 1000 });
  t.equal(ticks.length, CtTimeout.COUNT);
  t.equal(ticks[CtTimeout.UDP_STREAM], ticksOfMs(1000));
  t.equal(ticks[CtTimeout.TCP_ESTABLISHED], ticksOfMs(7_440_000));
  t.equal(new Set(Object.values(CtTimeout)).size, TIMEOUT_NAMES.length + 1, 'and none is without a name');
});

test('new tables: whole, loose, without rules', async (t) => {
  t.match(initialSettings(1024, 512, 672), {
    layout: Layout.LAYOUT_VERSION,
    flags: SettingsFlags.TCP_LOOSE,
    slots4: 1024,
    slots6: 512,
    ruleCount: 0,
    tcpMaxRetrans: 3,
    zero: 0,
    hintRows: 672,
  });
});
