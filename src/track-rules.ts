// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Rules for tracking by command. Each change is in force when the function has returned. */
import { Change } from './change.js';
import { Datapath, NotAttachedError } from './datapath.js';
import { CtnatError } from './errors.js';
import { Ledger } from './ledger.js';
import { requireCapabilities } from './privileges.js';
import { freeId } from './rules.js';
import { isSameTrackRule, MAX_TRACK_RULES, type TrackRule, trackRuleText } from './track-rule.js';

/** See Product.trackAdd(). */
export async function addTrackRule(pinPath: string, rule: TrackRule): Promise<TrackRule> {
  requireCapabilities('add a rule', 'CAP_BPF', 'CAP_NET_ADMIN');
  return await Change.ofLoaded(pinPath, 'add a rule', (change) => {
    const { state } = change;
    const same = state.track.find((each) => isSameTrackRule(each, rule));
    if (same) return same;
    for (const name of [rule.in, rule.out]) {
      if (name === undefined || state.interfaces.some((each) => each.name === name)) continue;
      throw new CtnatError(
        `can not add ${trackRuleText(rule)}: ${name} is not attached; run ctnat attach ${name}`,
      );
    }
    if (state.track.length >= MAX_TRACK_RULES) {
      throw new CtnatError(
        `can not add a rule: there are ${MAX_TRACK_RULES}, which is the limit; delete one`,
      );
    }
    const added = { ...rule, id: freeId(state.track) };
    change.settle({ ...state, track: [...state.track, added] });
    return added;
  });
}

/** See Product.trackList(). */
export function listTrackRules(pinPath: string): readonly TrackRule[] {
  if (!Datapath.isLoaded(pinPath)) throw new NotAttachedError(pinPath);
  using ledger = Ledger.open(pinPath);
  return ledger.read().track;
}

/** See Product.trackDelete(). */
export async function deleteTrackRule(pinPath: string, id: number): Promise<boolean> {
  requireCapabilities('delete a rule', 'CAP_BPF', 'CAP_NET_ADMIN');
  return await Change.ofLoaded(pinPath, 'delete a rule', (change) => {
    const track = change.state.track.filter((rule) => rule.id !== id);
    if (track.length === change.state.track.length) return false;
    change.settle({ ...change.state, track });
    return true;
  });
}

/** See Product.trackFlush(). */
export async function flushTrackRules(pinPath: string): Promise<number> {
  requireCapabilities('delete the rules', 'CAP_BPF', 'CAP_NET_ADMIN');
  return await Change.ofLoaded(pinPath, 'delete the rules', (change) => {
    const { length } = change.state.track;
    if (length > 0) change.settle({ ...change.state, track: [] });
    return length;
  });
}
