// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Puts rules for tracking in force at once: into the bank that does not hold, then the settings name it. */
import type { Datapath } from './datapath.js';
import { CtnatError } from './errors.js';
import { SettingsFlags, type TrackRules, trackRulesCodec } from './generated/layouts.gen.js';
import type { State } from './state.js';
import { MAX_TRACK_RULES } from './track-rule.js';
import type { Undo } from './undo.js';

/**
 * The programs of XDP mode ask no rules for tracking; `auto` makes it TC mode then.
 * @throws CtnatError if there are rules and an interface has asked for XDP mode
 */
export function refuseXdpWithTrack({ interfaces, track }: Pick<State, 'interfaces' | 'track'>): void {
  const xdp = interfaces.find(({ mode }) => mode === 'xdp');
  if (track.length === 0 || !xdp) return;
  throw new CtnatError(
    `can not use rules for tracking while ${xdp.name} is in mode xdp, which asks none; ` +
      `attach ${xdp.name} in mode tc or auto`,
  );
}

/** Makes the rules in force equal to these; the caller holds the lock of the pin path. */
export function settleTrack(datapath: Datapath, wanted: TrackRules, undo: Undo): void {
  if (wanted.count > MAX_TRACK_RULES) {
    throw new CtnatError(
      `can not use ${wanted.count} rules for tracking: ${MAX_TRACK_RULES} is the limit; delete some`,
    );
  }
  const { flags, trackBank } = datapath.settings;
  const isOn = (flags & SettingsFlags.TRACK) !== 0;
  const old = datapath.maps.track_rules.get(trackBank);
  if (isOn === wanted.count > 0 && (!isOn || (old && bytesOf(old).equals(bytesOf(wanted))))) return;
  const next = trackBank === 0 ? 1 : 0;
  undo.push(() => datapath.updateSettings({ flags, trackBank }));
  if (wanted.count > 0) datapath.maps.track_rules.set(next, wanted);
  datapath.updateSettings({
    flags: wanted.count > 0 ? flags | SettingsFlags.TRACK : flags & ~SettingsFlags.TRACK,
    trackBank: wanted.count > 0 ? next : trackBank,
  });
}

function bytesOf(rules: TrackRules): Buffer {
  const bytes = Buffer.alloc(trackRulesCodec.size);
  trackRulesCodec.write(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, rules);
  return bytes;
}
