// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The one test of the machines themselves: a kernel that hangs is ended at its limit, and its console is shown. The
// kernel is 1.5 KiB that greets on the serial port and stops; vmtest and qemu are the real ones.
import { mkdirSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { runMachine } from './machine.mjs';
import { targetToml } from './targets.mjs';

const GREETING = 'vm-hang: this kernel goes no further';
const LIMIT_SECONDS = 15;

/** A bzImage (Documentation/arch/x86/boot.rst, protocol 2.12) whose real-mode code prints and halts for good. */
export function hangingKernel() {
  const image = Buffer.alloc(3 * 512);
  image[0x1f1] = 1; // setup_sects: two sectors of real-mode code
  image.writeUInt16LE(0xaa55, 0x1fe);
  const [code, text] = [0x280, 0x300];
  Buffer.from([0xeb, code - 0x202]).copy(image, 0x200); // jmp code
  image.write('HdrS', 0x202);
  image.writeUInt16LE(0x20c, 0x206); // version of the protocol
  image[0x211] = 1; // loadflags: LOADED_HIGH
  image.writeUInt32LE(0x100000, 0x214); // code32_start
  image.writeUInt32LE(0x7fffffff, 0x22c); // initrd_addr_max
  const instructions = [
    ...[0xbe, text & 0xff, text >> 8], // mov si, text
    ...[0xac, 0x84, 0xc0, 0x74, 0x12], // next: lodsb; test al, al; jz halt
    ...[0x88, 0xc4, 0xba, 0xfd, 0x03], // mov ah, al; wait: mov dx, 0x3fd
    ...[0xec, 0xa8, 0x20, 0x74, 0xf8], // in al, dx; test al, 0x20; jz wait
    ...[0xba, 0xf8, 0x03, 0x88, 0xe0], // mov dx, 0x3f8; mov al, ah
    ...[0xee, 0xeb, 0xe9], // out dx, al; jmp next
    ...[0xfa, 0xf4, 0xeb, 0xfc], // halt: cli; hlt; jmp halt
  ];
  Buffer.from(instructions).copy(image, code);
  image.write(`${GREETING}\r\n`, text, 'latin1');
  return image;
}

/**
 * Runs it under vmtest.
 *
 * @param {{vmtest: string, say: (line: string) => void}} options
 * @returns {Promise<{passed: number, failed: number}>}
 */
export async function testHang({ vmtest, say }) {
  const folder = resolve('.vm/hang');
  const [name, kernel, config] = ['hang', `${folder}/bzImage`, `${folder}/vmtest.toml`];
  mkdirSync(folder, { recursive: true });
  writeFileSync(kernel, hangingKernel());
  writeFileSync(config, targetToml({ name, kernel, initrd: kernel }));
  const outcome = await runMachine({ name, config }, { vmtest, limitSeconds: LIMIT_SECONDS, say });
  const wrong = [];
  if (!/did not end within/.test(outcome.fault ?? '')) wrong.push(`it was not ended: ${JSON.stringify(outcome)}`);
  if (!outcome.console?.some((line) => line.includes(GREETING))) wrong.push(`its console is not shown: ${JSON.stringify(outcome.console)}`);
  const point = wrong.length === 0 ? 'ok' : 'not ok';
  say(`hang | ${point} - a kernel that hangs is ended after ${LIMIT_SECONDS} s and its console shown (${outcome.seconds.toFixed(0)} s)`);
  for (const line of wrong) say(`hang | #   ${line}`);
  return wrong.length === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
}
