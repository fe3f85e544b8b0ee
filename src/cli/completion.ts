// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import type { CommandFunction } from './command.js';
import { PROGRAM } from './commands.js';
import { bashScript } from './completion-bash.js';
import { completionPlaces } from './completion-places.js';
import { zshScript } from './completion-zsh.js';

/** `ctnat completion`: the script is made of the command table. */
export const completion: CommandFunction = async ({ arguments: [shell], out }) => {
  const places = completionPlaces(PROGRAM);
  await out.write(shell === 'zsh' ? zshScript(places) : bashScript(places));
};
