// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Comments of a C header by what they explain. Clang keeps no comments in BTF, so bpf2ts takes them from the
 * text. This is no C parser: it knows struct, union and enum bodies and the declarations in them.
 *
 * A comment belongs to a declaration if it stands alone right above it, or behind it on the line where it ends.
 */

/** Keys: "struct flow", "flow.deadline" (also of enums: "ct_dir.CT_DIR_REPLY"), and of unnamed ones what they declare: "flows4", "NAT_RETRIES_BUCKETS". */
export type CDocs = Map<string, string>;

interface Token {
  kind: 'comment' | 'word' | 'mark';
  text: string;
  /** Lines where it begins and ends, from 1. */
  line: number;
  end: number;
}

/** Reads the comments of a header's text. What is written twice keeps its first comment. */
export function readCDocs(source: string): CDocs {
  const docs: CDocs = new Map();
  new Reader(tokens(source), docs).file();
  return docs;
}

const PATTERN =
  /(?<comment>\/\*[\s\S]*?\*\/|\/\/[^\n]*)|^[ \t]*#(?:[^\\\n]|\\[\s\S])*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|(?<word>\w+)|(?<mark>[^\s\w])/gm;

function tokens(source: string): Token[] {
  const list: Token[] = [];
  let line = 1;
  let seen = 0;
  for (const match of source.matchAll(PATTERN)) {
    line += newlines(source.slice(seen, match.index));
    seen = match.index;
    const text = match[0];
    const { comment, word, mark } = match.groups ?? {};
    const kind =
      comment !== undefined
        ? 'comment'
        : word !== undefined
          ? 'word'
          : mark !== undefined
            ? 'mark'
            : undefined;
    if (kind !== undefined) list.push({ kind, text, line, end: line + newlines(text) });
  }
  return list;
}

function newlines(text: string): number {
  return text.split('\n').length - 1;
}

class Reader {
  readonly #tokens: Token[];
  readonly #docs: CDocs;

  constructor(list: Token[], docs: CDocs) {
    this.#tokens = list;
    this.#docs = docs;
  }

  /** Reads the whole file; a brace too many ends nothing. */
  file(): void {
    for (let at = 0; at < this.#tokens.length; ) at = this.#declarations(at, '');
  }

  /**
   * Reads declarations until the body's closing brace.
   * @param owner the struct or enum whose body this is, '' at file scope
   * @returns index of the token after the body
   */
  #declarations(from: number, owner: string): number {
    let at = from;
    while (at < this.#tokens.length) {
      const token = this.#tokens[at];
      if (token?.kind === 'comment' || token?.text === ';') at++;
      else if (token?.text === '}') return at + 1;
      else at = this.#declaration(at, owner);
    }
    return at;
  }

  /** One declaration, up to its semicolon; in an enum one constant, up to its comma. */
  #declaration(from: number, owner: string): number {
    const above = this.#commentAbove(from);
    const names: string[] = [];
    let name = '';
    let frozen = false;
    let at = from;
    for (; at < this.#tokens.length; at++) {
      const token = this.#tokens[at];
      if (token === undefined || token.kind === 'comment') continue;
      const { text } = token;
      if (text === '}') break;
      if (text === ';' || text === ',') {
        if (name !== '') names.push(name);
        [name, frozen] = ['', false];
        if (text === ';' || this.#isEnum(owner)) break;
      } else if (text === '{') {
        const [keyword, own] = frozen ? ['', ''] : this.#head(from, at);
        if (keyword === '') return this.#skip(at, '{', '}');
        const tag = own || this.#typedefName(from, at);
        const inner = tag === '' && owner !== '' ? owner : `${keyword} ${tag}`;
        at = this.#declarations(at + 1, inner) - 1;
        if (tag !== '') this.#put(`${keyword} ${tag}`, above);
        name = '';
      } else if (text === '(') {
        at = this.#skip(at, '(', ')') - 1;
      } else if (text === '[' || text === '=' || text === ':') {
        frozen = true;
      } else if (token.kind === 'word' && !frozen && this.#next(at) !== '(') {
        name = text;
      }
    }
    if (name !== '') names.push(name);
    const doc = above ?? this.#commentBehind(at);
    for (const each of names) this.#put(prefix(owner) + each, doc);
    return this.#tokens[at]?.text === '}' ? at : at + 1;
  }

  /** Of the tokens before a brace: the keyword and tag of a struct, union or enum; '' for a function. */
  #head(from: number, brace: number): [string, string] {
    const words = this.#tokens.slice(from, brace).filter((token) => token.kind === 'word');
    const index = words.findIndex(({ text }) => text === 'struct' || text === 'union' || text === 'enum');
    const keyword = words[index]?.text ?? '';
    const isCall = this.#tokens.slice(from, brace).some((token) => token.text === '(');
    const tag = words[index + 1]?.text ?? '';
    if (isCall && !words.some(({ text }) => text === '__attribute__')) return ['', ''];
    return [keyword, tag === '__attribute__' ? '' : tag];
  }

  /** An unnamed struct that begins `typedef` goes by what is defined. */
  #typedefName(from: number, brace: number): string {
    if (this.#tokens[from]?.text !== 'typedef') return '';
    const name = this.#tokens[this.#skip(brace, '{', '}')];
    return name?.kind === 'word' ? name.text : '';
  }

  #skip(from: number, open: string, close: string): number {
    let depth = 0;
    for (let at = from; at < this.#tokens.length; at++) {
      const token = this.#tokens[at];
      if (token?.kind !== 'mark') continue;
      if (token.text === open) depth++;
      if (token.text === close && --depth === 0) return at + 1;
    }
    return this.#tokens.length;
  }

  #isEnum(owner: string): boolean {
    return owner.startsWith('enum ');
  }

  #next(at: number): string {
    return this.#tokens[at + 1]?.text ?? '';
  }

  /** A comment that ends on the line above and shares no line with other code. */
  #commentAbove(at: number): string | undefined {
    const comment = this.#tokens[at - 1];
    const first = this.#tokens[at];
    if (comment?.kind !== 'comment' || first === undefined || first.line - comment.end > 1) return undefined;
    if (comment.end === first.line) return undefined;
    const before = this.#tokens[at - 2];
    return before !== undefined && before.end === comment.line ? undefined : clean(comment.text);
  }

  /** A comment on the line where a declaration ends, with nothing but brackets and marks between. */
  #commentBehind(at: number): string | undefined {
    const line = this.#tokens[at]?.text === '}' ? this.#tokens[at - 1]?.end : this.#tokens[at]?.end;
    for (let i = this.#tokens[at]?.text === '}' ? at - 1 : at; ; i++) {
      const token = this.#tokens[i];
      if (token === undefined || token.line !== line || (token.kind === 'word' && i > at)) return undefined;
      if (token.kind === 'comment') return clean(token.text);
    }
  }

  #put(key: string, doc: string | undefined): void {
    if (doc !== undefined && doc !== '' && !this.#docs.has(key)) this.#docs.set(key, doc);
  }
}

/** Constants of an unnamed enum are known by their own name. */
function prefix(owner: string): string {
  const tag = owner.split(' ')[1] ?? '';
  return tag === '' ? '' : `${tag}.`;
}

function clean(comment: string): string {
  const inner = comment.startsWith('//') ? comment.slice(2) : comment.slice(2, -2);
  return inner
    .split('\n')
    .map((line) => line.replace(/^\s*\*( |$)/, '').trimEnd())
    .join('\n')
    .trim();
}
