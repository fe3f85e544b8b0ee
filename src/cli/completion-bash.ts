// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The completion script for bash. It needs no other package. */
import type { Place, Values } from './completion-places.js';

const HEAD = `# bash completion for ctnat
_ctnat() {
    local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} place= word i
    COMPREPLY=()
    # Which command are we in? Options and their values are not part of its name.
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=\${COMP_WORDS[i]}
        case "$place:$word" in`;

/** The script. */
export function bashScript(places: readonly Place[]): string {
  const steps = places.flatMap(({ path, commands }) =>
    commands.map(({ word }) => `        ${quote(`${path}:${word}`)}) place=${quote(join(path, word))} ;;`),
  );
  const skips = places
    .filter(({ valueOptions }) => valueOptions.length > 0)
    .map(({ path, valueOptions }) => {
      const names = valueOptions.flatMap((option) => option.names);
      return `        ${names.map((name) => quote(`${path}:${name}`)).join('|')}) ((i++)) ;;`;
    });
  const values = places.flatMap(({ path, valueOptions }) =>
    valueOptions.map((option) => {
      const pattern = option.names.map((name) => quote(`${path}:${name}`)).join('|');
      return `    ${pattern}) ${reply(option)}; return ;;`;
    }),
  );
  const words = places.map(({ path, commands, options, argument }) => {
    const flags = options.map(({ word }) => word).join(' ');
    const names = commands.map(({ word }) => word).join(' ');
    const other =
      commands.length > 0 ? `COMPREPLY=($(compgen -W ${quote(names)} -- "$cur"))` : reply(argument);
    return [
      `    ${quote(path)})`,
      `        if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W ${quote(flags)} -- "$cur"))`,
      `        else ${other}; fi ;;`,
    ].join('\n');
  });
  return [
    HEAD,
    ...steps,
    ...skips,
    '        esac',
    '    done',
    '    case "$place:$prev" in',
    ...values,
    '    esac',
    '    case "$place" in',
    ...words,
    '    esac',
    '}',
    'complete -F _ctnat ctnat',
    '',
  ].join('\n');
}

function join(path: string, word: string): string {
  return path === '' ? word : `${path} ${word}`;
}

/** A command that puts the values that fit into COMPREPLY. */
function reply({ words, kind }: Values): string {
  const list = (command: string) => `COMPREPLY=($(compgen -W "$(${command})" -- "$cur"))`;
  switch (kind) {
    case 'interface':
      return list('ls /sys/class/net 2>/dev/null');
    case 'netns':
      return list('ls /run/netns 2>/dev/null');
    case 'file':
      return 'COMPREPLY=($(compgen -f -- "$cur"))';
    case 'folder':
      return 'COMPREPLY=($(compgen -d -- "$cur"))';
    default:
      return words.length === 0 ? ':' : `COMPREPLY=($(compgen -W ${quote(words.join(' '))} -- "$cur"))`;
  }
}

/** Text as one word of the shell. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
