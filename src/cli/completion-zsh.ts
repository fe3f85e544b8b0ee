// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The completion script for zsh: as bash's, with a meaning beside each word. */
import type { Place, Values, Word } from './completion-places.js';

const HEAD = `#compdef ctnat
# zsh completion for ctnat
_ctnat() {
    local place= word prev=\${words[CURRENT-1]} i
    local -a items
    # Which command are we in? Options and their values are not part of its name.
    for ((i = 2; i < CURRENT; i++)); do
        word=\${words[i]}
        case "$place:$word" in`;

const TAIL = `    esac
}
if [[ $funcstack[1] == _ctnat ]]; then _ctnat "$@"; else compdef _ctnat ctnat; fi
`;

/** The script, to be sourced or put into a folder of fpath. */
export function zshScript(places: readonly Place[]): string {
  const lines = [HEAD];
  for (const { path, commands } of places) {
    for (const { word } of commands) {
      lines.push(
        `        ${quote(`${path}:${word}`)}) place=${quote(path === '' ? word : `${path} ${word}`)} ;;`,
      );
    }
  }
  for (const { path, valueOptions } of places) {
    const names = valueOptions.flatMap((option) => option.names).map((name) => quote(`${path}:${name}`));
    if (names.length > 0) lines.push(`        ${names.join('|')}) ((i++)) ;;`);
  }
  lines.push('        esac', '    done', '    case "$place:$prev" in');
  for (const { path, valueOptions } of places) {
    for (const option of valueOptions) {
      const pattern = option.names.map((name) => quote(`${path}:${name}`)).join('|');
      lines.push(`    ${pattern}) ${offer(option)}; return ;;`);
    }
  }
  lines.push('    esac', '    case "$place" in');
  for (const { path, commands, options, argument } of places) {
    lines.push(
      `    ${quote(path)})`,
      '        if [[ $PREFIX == -* ]]; then',
      `            items=(${items(options)})`,
      '            _describe -o option items',
      commands.length > 0
        ? `        else items=(${items(commands)}); _describe command items`
        : `        else ${offer(argument)}`,
      '        fi ;;',
    );
  }
  return `${lines.join('\n')}\n${TAIL}`;
}

/** A command that offers the values. */
function offer({ words, kind }: Values): string {
  switch (kind) {
    case 'interface':
      return 'compadd -- /sys/class/net/*(N:t)';
    case 'netns':
      return 'compadd -- /run/netns/*(N:t)';
    case 'file':
      return '_files';
    case 'folder':
      return '_files -/';
    default:
      return words.length === 0 ? ':' : `compadd -- ${words.map(quote).join(' ')}`;
  }
}

/** Words with their meanings as _describe wants them. */
function items(words: readonly Word[]): string {
  return words.map(({ word, meaning }) => quote(`${word.replaceAll(':', '\\:')}:${meaning}`)).join(' ');
}

/** Text as one word of the shell. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
