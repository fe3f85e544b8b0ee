// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * YAML 1.2 text as plain data, with the place of every key and value. Only the part of YAML that a
 * configuration needs: no anchors and aliases, no tags, one document.
 */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type YAMLError,
} from 'yaml';
import { ConfigError, quoted } from '../errors.js';
import { configError, type Issue, type Path } from './issue.js';

/** Parsed data; mappings have no prototype. */
export type Data = null | boolean | number | string | Data[] | { [key: string]: Data };

export interface YamlFile {
  readonly data: Data;
  /** Where the value of a path begins, or its key if asked. A path that is not there gives its parent's place. */
  offset(path: Path, what?: 'key' | 'value'): number;
  position(offset: number): { line: number; col: number };
}

/**
 * Parses text that was read from `file`.
 * @throws ConfigError telling the first thing that is no YAML or not allowed here
 */
export function parseYaml(text: string, file: string): YamlFile {
  const counter = new LineCounter();
  const position = (offset: number) => counter.linePos(offset);
  try {
    const document = parseDocument(text, {
      lineCounter: counter,
      prettyErrors: false,
      version: '1.2',
    });
    const [broken] = [...document.errors, ...document.warnings];
    if (broken) throw syntaxError(broken, text, file, position);
    const reader = new Reader(document);
    const data = reader.read();
    if (reader.issues.length > 0) throw configError(file, reader.issues, position);
    return { data, offset: (path, what) => reader.offset(path, what), position };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ConfigError(`${file}: nested too deeply: this is no configuration of ctnat`, { cause: error });
  }
}

/** Behind the first syntax error the others are often only its echo, so they are not counted. */
function syntaxError(error: YAMLError, text: string, file: string, position: YamlFile['position']): Error {
  if (error.message.includes('call stack')) return new RangeError(error.message);
  return configError(file, [{ offset: error.pos[0], path: [], message: yamlMessage(error, text) }], position);
}

function yamlMessage({ code, message, pos }: YAMLError, text: string): string {
  switch (code) {
    case 'DUPLICATE_KEY': {
      const key = /^[^:\n]*/.exec(text.slice(pos[0]))![0].trim();
      return `key ${quoted(key)} is given twice`;
    }
    case 'TAB_AS_INDENT':
      return 'a tab can not indent; use spaces';
    case 'MULTIPLE_DOCS':
      return 'a second document begins here; a configuration is one document';
    case 'TAG_RESOLVE_FAILED':
      return 'tags are not supported';
    default:
      return `not valid YAML: ${message.charAt(0).toLowerCase()}${message.slice(1)}`;
  }
}

/** Turns nodes into data and remembers where they were. */
class Reader {
  readonly issues: Issue[] = [];
  readonly #document: Document;
  readonly #places = new Map<string, { key: number; value: number }>();

  constructor(document: Document) {
    this.#document = document;
  }

  read(): Data {
    const { explicit, version } = this.#document.directives!.yaml;
    if (explicit && version !== '1.2') {
      this.issues.push({ offset: 0, path: [], message: `YAML ${version} is not supported; leave out %YAML` });
    }
    const root = this.#document.contents as Node | null;
    return root === null ? null : this.#node(root, [], root.range?.[0] ?? 0);
  }

  offset(path: Path, what: 'key' | 'value' = 'value'): number {
    for (let length = path.length; length >= 0; length--) {
      const place = this.#places.get(placeId(path.slice(0, length)));
      if (place) return length < path.length ? place.value : place[what];
    }
    return 0;
  }

  #node(node: Node, path: Path, key: number): Data {
    const offset = node.range?.[0] ?? key;
    this.#places.set(placeId(path), { key, value: offset });
    if (isAlias(node) || ('anchor' in node && node.anchor !== undefined)) {
      return this.#refuse(offset, path, 'anchors and aliases are not supported; write the value out');
    }
    if (node.tag !== undefined) return this.#refuse(offset, path, 'tags are not supported');
    if (isMap(node)) return this.#map(node.items as { key: Node; value: Node | null }[], path);
    if (isSeq(node)) {
      return node.items.map((item, i) =>
        this.#node(item as Node, [...path, i], (item as Node).range?.[0] ?? offset),
      );
    }
    return isScalar(node) ? (node.value as Data) : null;
  }

  #map(items: { key: Node; value: Node | null }[], path: Path): Data {
    const map = Object.create(null) as { [key: string]: Data };
    for (const { key, value } of items) {
      const offset = key.range?.[0] ?? 0;
      if (!isScalar(key)) {
        this.#refuse(offset, path, 'a key must be a word');
        continue;
      }
      if (key.anchor !== undefined || key.tag !== undefined) {
        this.#refuse(offset, path, 'anchors, aliases and tags are not supported');
        continue;
      }
      const name = String(key.value);
      const below = [...path, name];
      if (value === null) this.#places.set(placeId(below), { key: offset, value: offset });
      map[name] = value === null ? null : this.#node(value, below, offset);
    }
    return map;
  }

  #refuse(offset: number, path: Path, message: string): null {
    this.issues.push({ offset, path, message });
    return null;
  }
}

function placeId(path: Path): string {
  return JSON.stringify(path);
}
