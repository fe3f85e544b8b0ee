// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Checks a configuration's shape against config.schema.json and puts what is wrong into words. */
import { readFileSync } from 'node:fs';
import { Ajv, type ErrorObject } from 'ajv';
import { quoted } from '../errors.js';
import { didYouMean } from '../suggest.js';
import { packageFile } from '../version.js';
import type { Issue, Path } from './issue.js';
import type { Data, YamlFile } from './yaml-file.js';

/** Name of the schema among the package's files. */
export const SCHEMA_FILE = 'config.schema.json';

type Schema = { 'x-expected'?: string; properties?: Record<string, unknown>; [key: string]: unknown };

/** Every violation of the schema; empty if there is none. */
export function validateShape(file: YamlFile): Issue[] {
  const schema = JSON.parse(readFileSync(packageFile(SCHEMA_FILE), 'utf8')) as Schema;
  const ajv = new Ajv({ allErrors: true, verbose: true, strict: true, allowUnionTypes: true });
  ajv.addKeyword('x-expected');
  if (ajv.validate(schema, file.data)) return [];
  const issues = new Map<string, Issue>();
  const errors = ajv.errors ?? [];
  const misspelt = new Set(
    errors.filter((e) => e.keyword === 'additionalProperties').map((e) => e.instancePath),
  );
  for (const error of errors) {
    if (error.keyword === 'if') continue; // tells only that `then` or `else` has failed, which tells itself
    // The missing key is probably there under a wrong name.
    if (error.keyword === 'required' && misspelt.has(error.instancePath)) continue;
    const issue = describe(error, file);
    // One value can break several rules of its schema; one message is enough.
    issues.set(JSON.stringify([issue.path, issue.message]), issue);
  }
  return [...issues.values()];
}

function describe(error: ErrorObject, file: YamlFile): Issue {
  const path = pointerPath(error.instancePath, file.data);
  const schema = (error.parentSchema ?? {}) as Schema;
  const place = (message: string): Issue => ({ offset: file.offset(path), path, message });
  if (error.keyword === 'additionalProperties') {
    const key = (error.params as { additionalProperty: string }).additionalProperty;
    const known = Object.keys(schema.properties ?? {});
    const message = `unknown key ${quoted(key)}${didYouMean(key, known)}; allowed: ${known.join(', ')}`;
    return { offset: file.offset([...path, key], 'key'), path, message };
  }
  if (error.keyword === 'required') {
    return place(`key ${quoted((error.params as { missingProperty: string }).missingProperty)} is missing`);
  }
  return place(`expected ${schema['x-expected'] ?? error.message}, got ${got(error.data as Data)}`);
}

/** A value in words. */
function got(value: Data): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return 'a mapping';
  return typeof value === 'string' ? quoted(value) : String(value);
}

/** The steps of a JSON pointer (RFC 6901) into the data: a step into a list is a number. */
function pointerPath(pointer: string, data: Data): Path {
  const path: (string | number)[] = [];
  let here: Data = data;
  for (const escaped of pointer.split('/').slice(1)) {
    const step = escaped.replaceAll('~1', '/').replaceAll('~0', '~');
    if (Array.isArray(here)) {
      path.push(Number(step));
      here = here[Number(step)] ?? null;
    } else {
      path.push(step);
      here = here !== null && typeof here === 'object' ? (here[step] ?? null) : null;
    }
  }
  return path;
}
