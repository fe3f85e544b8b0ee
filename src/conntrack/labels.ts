// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Names of labels, as connlabel.conf gives them to bits 0 to 127. */
import { readFileSync } from 'node:fs';
import { ConntrackUsageError } from './failure.js';

/** Where iptables and conntrack(8) look. */
export const CONNLABEL_FILE = '/etc/xtables/connlabel.conf';

/** Those that a flow can have. */
const LABEL_BITS = 128;

/** Names of higher bits are known as well, and no flow has them. */
const NAMED_BITS = 65_536;

/** Every label set. */
export const ALL_LABELS = (1n << BigInt(LABEL_BITS)) - 1n;

export class LabelNames {
  readonly #bits = new Map<string, number>();
  readonly #names: (string | undefined)[] = [];

  /**
   * @param text lines of a bit's number, as C writes it, and its name, which may have blanks inside; one with a # is
   *   no name; the first name of a bit holds
   */
  constructor(text: string) {
    for (const line of text.split('\n')) {
      const match = /^\s*(0x[0-9a-f]+|[0-9]+)\s+([^\s#](?:[^#]*[^\s#])?)\s*$/i.exec(line);
      if (!match) continue;
      const [, digits = '', name = ''] = match;
      const bit = /^0[0-9]/.test(digits) ? Number.parseInt(digits, 8) : Number(digits);
      if (!(bit < NAMED_BITS) || this.#names[bit] !== undefined) continue;
      this.#names[bit] = name;
      this.#bits.set(name, bit);
    }
  }

  /** Reads the file. One that can not be read has no names; `warn` gets what conntrack(8) tells of it. */
  static load(file: string, warn: (line: string) => void): LabelNames {
    try {
      return new LabelNames(readFileSync(file, 'utf8'));
    } catch (error) {
      const { code = '', message } = error as NodeJS.ErrnoException;
      warn(`nfct_labelmap_new: ${REASONS[code] ?? message}\n`);
      return new LabelNames('');
    }
  }

  /**
   * The bits of names with commas between them.
   * @throws ConntrackUsageError naming the one that is unknown
   */
  bitsOf(text: string): bigint {
    return text.split(',').reduce((bits, name) => {
      const bit = this.#bits.get(name);
      if (bit === undefined) throw new ConntrackUsageError(`unknown label '${name}'`);
      return bits | (1n << BigInt(bit));
    }, 0n);
  }

  /** The names of bits, in their order; a bit without a name is left out. */
  namesOf(bits: bigint): string[] {
    const names: string[] = [];
    for (let bit = 0, rest = bits; rest !== 0n; bit++, rest >>= 1n) {
      const name = this.#names[bit];
      if ((rest & 1n) !== 0n && name !== undefined) names.push(name);
    }
    return names;
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'No such file or directory',
  EACCES: 'Permission denied',
};
