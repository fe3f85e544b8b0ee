// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The kernels that a run is about: Debian's of kernels.json, or those that VMTEST_KERNEL names. Each becomes a
// target of vmtest.
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/** @typedef {{name: string, suite: string, security: boolean, ci: boolean}} DebianKernel */

/**
 * @typedef {object} Target
 * @property {string} name stands before every line of its output
 * @property {string} config the vmtest.toml that has it
 * @property {() => string} prepare makes kernel and initrd, answers what they are
 */

/** @returns {{kernels: DebianKernel[], supplied: string[]}} */
export function knownKernels() {
  return JSON.parse(readFileSync('test/vm/kernels.json', 'utf8'));
}

/** Debian's kernels of these names; all without names. @throws {Error} naming those that there are */
export function debianTargets(names, { update = false } = {}) {
  const known = knownKernels().kernels.map((kernel) => kernel.name);
  for (const name of names) {
    if (!known.includes(name)) {
      throw new Error(`there is no kernel ${name}: there are ${known.join(', ')}; VMTEST_KERNEL=/path/to/bzImage runs any other`);
    }
  }
  return known
    .filter((name) => names.length === 0 || names.includes(name))
    .map((name) => ({
      name,
      config: 'vmtest.toml',
      prepare: () => `Debian ${getKernel([...(update ? ['--update'] : []), name])}`,
    }));
}

/** @returns the package's version @throws {Error} with get-kernel's reason; what it says besides goes to stderr */
function getKernel(argv) {
  const { status, stdout, stderr } = spawnSync('test/vm/get-kernel', argv, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  process.stderr.write(stderr);
  if (status === 0) return stdout.trim();
  throw new Error(/^get-kernel: (.*)$/.exec(stderr.trimEnd().split('\n').at(-1))?.[1] ?? `get-kernel ended with status ${status}`);
}

/**
 * A kernel of the user's. Its modules, if it has any, are in `modules`, or where its release says: beside it
 * below lib/modules, or the host's own.
 *
 * @throws {Error} if the file is no kernel
 * @returns {Target}
 */
export function suppliedTarget(path, modules) {
  const kernel = resolve(path);
  const release = kernelRelease(kernel);
  const folders = modules ? [modules] : [join(dirname(kernel), 'lib/modules', release), join('/lib/modules', release)];
  const found = folders.find((folder) => existsSync(join(folder, 'kernel')));
  if (modules && !found) throw new Error(`VMTEST_MODULES=${modules} is no modules folder: it has no kernel/ in it`);
  const folder = resolve('.vm/supplied', release);
  const config = join(folder, 'vmtest.toml');
  const initrd = join(folder, 'initrd.img');
  return {
    name: release,
    config,
    prepare: () => {
      mkdirSync(folder, { recursive: true });
      execFileSync('test/vm/make-initrd', [initrd, ...(found ? [found] : [])], { stdio: 'inherit' });
      writeFileSync(config, targetToml({ name: release, kernel, initrd }));
      return `${kernel}, ${found ? `modules of ${found}` : 'without modules: what it needs has to be built in'}`;
    },
  };
}

/** A target as it stands in vmtest.toml. no_timer_check: a busy host loses timer interrupts, and the kernel would panic. */
export function targetToml({ name, kernel, initrd }) {
  const text = JSON.stringify; // TOML's basic strings are JSON's
  return `[[target]]
name = ${text(name)}
kernel = ${text(kernel)}
kernel_args = "random.trust_cpu=on mitigations=off no_timer_check"
qemu_command = "test/vm/qemu"
command = 'bash "$(cat /mnt/vmtest/root)/test/vm/guest" ${name}'
[target.vm]
memory = "2G"
extra_args = ["-initrd", ${text(initrd)}, "-device", "virtio-rng-pci"]
`;
}

/** The release of a bzImage or vmlinux, such as 4.19.108. @throws {Error} if the file is neither */
export function kernelRelease(path) {
  const head = Buffer.alloc(0x10000);
  const file = openSync(path, 'r');
  try {
    readSync(file, head, 0, head.length, 0);
  } finally {
    closeSync(file);
  }
  // Documentation/arch/x86/boot.rst: kernel_version is where the text is, less 0x200.
  const offset = head.toString('latin1', 0x202, 0x206) === 'HdrS' ? head.readUInt16LE(0x20e) : 0;
  const text = offset
    ? head.toString('latin1', offset + 0x200, offset + 0x300)
    : /Linux version ([^\n]*)/.exec(head.toString('latin1', 0, 4) === '\x7fELF' ? readFileSync(path, 'latin1') : '')?.[1];
  const release = /^\d+\.\d+[-+.\w]*/.exec(text ?? '')?.[0];
  if (!release) throw new Error(`${path} is no x86 kernel: it is neither a bzImage nor a vmlinux`);
  return release;
}
