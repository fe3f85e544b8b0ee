// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Help and completion, which are derived from the command table.
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Argument, Command, Option } from 'commander';
import { test } from 'tap';
import { type CommandSpec, type GroupSpec, isGroup } from '../../src/cli/command.js';
import { PROGRAM } from '../../src/cli/commands.js';
import { packageFile } from '../../src/version.js';
import { ctnat, words } from '../helpers/command-line.js';

function* commands(spec: GroupSpec, path: string[] = []): Iterable<[string[], CommandSpec | GroupSpec]> {
  for (const child of spec.commands) {
    yield [[...path, child.name], child];
    if (isGroup(child)) yield* commands(child, [...path, child.name]);
  }
}

const ALL = [...commands(PROGRAM)];

test('every command has help with its options and examples', async (t) => {
  for (const [path, spec] of ALL) {
    const { status, stdout, stderr } = await ctnat([...path, '--help']);
    const name = path.join(' ');
    t.equal(status, 0, name);
    t.equal(stderr, '', name);
    t.match(
      stdout,
      `Usage: ctnat ${path
        .slice(0, -1)
        .map((word) => `${word} `)
        .join('')}${spec.name}`,
    );
    if (!isGroup(spec) && spec.isRaw) continue; // it has a help of its own
    t.match(stdout, '--netns <name>', name);
    if (isGroup(spec)) continue;
    for (const { flags } of spec.options ?? []) t.match(stdout, flags, `${name}: ${flags}`);
    t.ok(spec.examples.length > 0, `${name} has examples`);
    for (const [line] of spec.examples) t.match(stdout, `\n  ${line}`, name);
  }
});

test('every example is a command line that the program understands', async (t) => {
  for (const [path, spec] of ALL) {
    if (isGroup(spec)) continue;
    for (const [line] of spec.examples) {
      const own = /ctnat ([^|>)]*)/.exec(line)![1]!;
      t.ok(own.startsWith(path.join(' ')), line);
      if (['apply', 'run'].includes(path[0]!)) continue; // their files are not there
      if (path[0] === 'monitor') continue; // waits for events
      t.match(
        await ctnat(words(own)),
        {
          status: 0,
          stderr:
            /^((ctnat: (nothing|there is|lan1|no)|conntrack v[0-9.]+ \(conntrack-tools\): 0 flow entries).*\n)?$/,
        },
        line,
      );
    }
  }
});

test('ctnat alone shows its help on stderr and exits 2', async (t) => {
  const { status, stdout, stderr } = await ctnat('');

  t.equal(status, 2);
  t.equal(stdout, '');
  t.match(stderr, /^Usage: ctnat /);
  for (const { name } of PROGRAM.commands) t.match(stderr, new RegExp(`^ {2}${name} `, 'm'));
});

test('help as a command and the version', async (t) => {
  const { version } = JSON.parse(readFileSync(packageFile('package.json'), 'utf8'));

  t.match(await ctnat('help attach'), { status: 0, stdout: /^Usage: ctnat attach/ });
  t.match(await ctnat('--version'), { status: 0, stdout: `${version}\n`, stderr: '' });
});

test('no option of a command has the name of another one', async (t) => {
  for (const [path, spec] of ALL) {
    if (isGroup(spec)) continue;
    const command = new Command();
    t.doesNotThrow(() => {
      for (const { flags, description } of spec.options ?? [])
        command.addOption(new Option(flags, description));
      for (const { name, description } of spec.arguments ?? [])
        command.addArgument(new Argument(name, description));
    }, path.join(' '));
  }
});

/** What bash offers behind these words; the last one is being typed. */
function bashOffers(script: string, line: readonly string[]): string[] {
  const typed = ['ctnat', ...line].map((word) => `'${word}'`).join(' ');
  const probe = `COMP_WORDS=(${typed}); COMP_CWORD=${line.length}; _ctnat; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync('bash', ['--norc', '-c', `${script}\n${probe}`], { encoding: 'utf8' })
    .split('\n')
    .filter(Boolean);
}

test('bash completes commands, options, values and interfaces', async (t) => {
  const { stdout: script, status } = await ctnat('completion bash');
  const offers = (...line: string[]) => bashOffers(script, line);

  t.equal(status, 0);
  t.equal(spawnSync('bash', ['-n'], { input: script }).status, 0, 'bash -n');
  t.same(offers('att'), ['attach']);
  t.same(offers('bpf', ''), ['ct', 'nat', 'metrics']);
  t.same(offers('--netns', 'x', '-o', 'json', 'bpf', 'ct', 'c'), ['count']);
  t.same(offers('--netns', 'bpf', 'att'), ['attach'], 'a value is no command');
  t.same(offers('bpf', 'ct', 'list', ''), ['global']);
  t.same(offers('bpf', 'ct', 'list', 'global', '--reply'), ['--reply-src', '--reply-dst']);
  t.same(offers('bpf', 'ct', 'list', '-p', 'udp'), ['udp', 'udplite']);
  t.same(offers('bpf', 'ct', 'list', '--state', 'TIME'), ['TIME_WAIT']);
  t.same(offers('bpf', 'ct', 'list', '-o', ''), ['text', 'json', 'jsonl']);
  t.same(
    offers('nat', 'add', 'snat', '-o', 'l'),
    ['lo'].filter((name) => offers('attach', '').includes(name)),
  );
  t.ok(offers('attach', '').includes('lo'), 'interfaces');
  t.same(offers('attach', 'lo', '--masquerade='), ['--masquerade=4', '--masquerade=6', '--masquerade=all']);
  t.same(offers('attach', 'lo', '--mode', ''), ['auto', 'tc', 'xdp']);
  t.same(offers('nat', 'delete', ''), []);
  t.same(offers('completion', ''), ['bash', 'zsh']);
});

test('every command and long option is in both scripts', async (t) => {
  for (const shell of ['bash', 'zsh']) {
    const { stdout } = await ctnat(`completion ${shell}`);
    for (const [path, spec] of ALL) {
      t.ok(stdout.includes(`'${path.join(' ')}'`), `${shell}: ${path.join(' ')}`);
      if (isGroup(spec)) continue;
      for (const { flags } of spec.options ?? [])
        t.ok(stdout.includes(/--[a-z-]+/.exec(flags)![0]), `${shell}: ${flags}`);
    }
  }
});

const hasZsh = spawnSync('zsh', ['--version']).status === 0;

test('zsh reads its script', { skip: hasZsh ? false : 'zsh is not installed' }, async (t) => {
  const { stdout: script } = await ctnat('completion zsh');
  // The words that would be offered, by putting something that prints in place of zsh's own functions.
  const stubs = `
    compdef() { :; }; compadd() { shift; print -l -- "$@"; }
    _describe() { [[ $1 == -o ]] && shift; print -l -- "\${(@)\${(P)2}%%:*}"; }`;
  const probe = `
    words=(ctnat bpf ct list -p ''); CURRENT=6; PREFIX=; _ctnat
    words=(ctnat nat ''); CURRENT=3; _ctnat
    words=(ctnat bpf ct list --re); CURRENT=5; PREFIX=--re; _ctnat`;
  const { status, stdout, stderr } = spawnSync('zsh', ['-f', '-c', `${stubs}\n${script}\n${probe}`], {
    encoding: 'utf8',
  });

  t.equal(spawnSync('zsh', ['-n'], { input: script }).status, 0, 'zsh -n');
  t.match({ status, stderr }, { status: 0, stderr: '' });
  const offered = stdout.split('\n');
  for (const word of ['tcp', 'udplite', 'add', 'list', 'flush', '--reply-src', '--state'])
    t.ok(offered.includes(word), word);
});
