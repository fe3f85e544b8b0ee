// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** A configuration file from its path to a checked Config. */
import { ConfigError } from '../errors.js';
import { buildConfig, Judge } from './build.js';
import type { Config } from './config.js';
import type { ConfigFile } from './file.js';
import { configError } from './issue.js';
import { readSource } from './source.js';
import { validateShape } from './validate.js';
import { parseYaml } from './yaml-file.js';

/**
 * Reads and checks a configuration file.
 * @throws ConfigError with one line, `FILE:LINE:COLUMN: KEY: what is wrong`
 */
export async function loadConfig(file: string): Promise<Config> {
  return parseConfig(await readSource(file), file);
}

/** Checks a configuration's text; `file` is its name in messages. */
export function parseConfig(text: string, file: string): Config {
  const yaml = parseYaml(text, file);
  if (yaml.data === null) {
    throw new ConfigError(
      `${file}: empty; a configuration that shall attach nothing says so: interfaces: []`,
    );
  }
  const shape = validateShape(yaml);
  if (shape.length > 0) throw configError(file, shape, yaml.position);
  const judge = new Judge(yaml);
  const config = buildConfig(yaml.data as unknown as ConfigFile, judge);
  if (judge.issues.length > 0) throw configError(file, judge.issues, yaml.position);
  return config;
}
