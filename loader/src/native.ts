// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * The native seam: the only file that imports koffi. It binds the functions that native-functions.ts declares
 * on their first use, so that importing the package loads no library. Structs go through pointers to Buffers
 * that the caller lays out; every layout assumes an LP64 machine.
 */

import { endianness } from 'node:os';
import { isMainThread } from 'node:worker_threads';
import koffi from 'koffi';
import { SyscallError, UnsupportedError } from './errors.js';
import { LIBBPF_FUNCTIONS, LIBC_FUNCTIONS } from './native-functions.js';

/** What C may be handed: buffers go by reference and only for the duration of the call. */
export type NativeArgument = number | bigint | string | boolean | Uint8Array | ArrayBuffer | null;

/** A pointer as C returned it; null is NULL. */
export type Pointer = bigint | null;

type Result<Prototype extends string> = Prototype extends `void *${string}`
  ? Pointer
  : Prototype extends `const char *${string}`
    ? string | null
    : Prototype extends `void ${string}`
      ? undefined
      : Prototype extends `bool ${string}`
        ? boolean
        : number;

/** A C function that runs in this thread, or with `.async` in a worker thread of koffi's. */
export interface NativeFunction<R> {
  (...args: NativeArgument[]): R;
  async(...args: [...NativeArgument[], (error: Error | null, result: R) => void]): void;
}

type Library<Functions extends Record<string, string>> = {
  readonly [Name in keyof Functions]: NativeFunction<Result<Functions[Name]>>;
};

type Handle = ReturnType<typeof koffi.load>;

/** What mmap() returns on failure. */
export const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/** Byte order of this machine, as the last argument that DataView's methods take. */
export const LITTLE_ENDIAN = endianness() === 'LE';

let libbpfHandle: Handle | undefined;

function openLibbpf(): Handle {
  if (libbpfHandle === undefined) {
    try {
      libbpfHandle = koffi.load('libbpf.so.1');
    } catch (cause) {
      throw new UnsupportedError('libbpf', 'libbpf 1.0', {
        cause,
        hint: 'Install the package libbpf1 (Debian, Ubuntu) or libbpf (Fedora, Arch, Alpine)',
      });
    }
    if (isMainThread) capturePrints(libbpfHandle);
  }
  return libbpfHandle;
}

let libcHandle: Handle | undefined;

/** Node itself is linked with libc, whatever libc that is: its symbols are the process's own. */
function openLibc(): Handle {
  libcHandle ??= koffi.load(null);
  return libcHandle;
}

function declareLibrary<Functions extends Record<string, string>>(
  open: () => Handle,
  functions: Functions,
): Library<Functions> {
  const library = {};
  for (const [name, prototype] of Object.entries(functions)) {
    Object.defineProperty(library, name, {
      configurable: true,
      enumerable: true,
      get() {
        const bound = bind(open(), name, prototype);
        Object.defineProperty(library, name, { value: bound, enumerable: true });
        return bound;
      },
    });
  }
  return library as Library<Functions>;
}

function bind(handle: Handle, name: string, prototype: string): unknown {
  try {
    return handle.func(prototype);
  } catch (cause) {
    throw new UnsupportedError(`${name}()`, 'a newer libbpf', { cause });
  }
}

/** libbpf's functions. Since libbpf 1.0 those that return int return a negative errno on failure. */
export const libbpf = declareLibrary(openLibbpf, LIBBPF_FUNCTIONS);

/** libc's functions. On failure they return -1 and set errno. */
export const libc = declareLibrary(openLibc, LIBC_FUNCTIONS);

/** Tells whether the installed libbpf has a function that not every 1.x has. */
export function hasLibbpfFunction(name: keyof typeof LIBBPF_FUNCTIONS): boolean {
  try {
    return libbpf[name] !== undefined;
  } catch (error) {
    if (error instanceof UnsupportedError && error.feature === `${name}()`) return false;
    throw error;
  }
}

/** errno as the last call left it. Read it before anything else: V8 makes system calls of its own. */
export function errno(): number {
  return koffi.errno();
}

/**
 * Returns what a libbpf function returned, unless that is a negative errno.
 *
 * @param operation what was done to what, as it follows "Cannot": `create map "flows"`
 * @throws SyscallError
 */
export function checkResult(result: number, operation: string, hint?: string): number {
  if (result >= 0) return result;
  throw new SyscallError(operation, -result, hint === undefined ? {} : { hint });
}

/**
 * Returns what a libc function returned, unless that is -1. Must directly follow the call, for errno's sake.
 *
 * @throws SyscallError
 */
export function checkErrno(result: number, operation: string, hint?: string): number {
  if (result !== -1) return result;
  throw new SyscallError(operation, koffi.errno(), hint === undefined ? {} : { hint });
}

/**
 * Returns the pointer that a libbpf function returned, unless it is NULL. Must directly follow the call.
 *
 * @throws SyscallError
 */
export function checkPointer(pointer: Pointer, operation: string, hint?: string): bigint {
  if (pointer !== null) return pointer;
  throw new SyscallError(operation, koffi.errno(), hint === undefined ? {} : { hint });
}

/**
 * The address of a buffer's first byte, to be written into a struct. Node keeps no typed array on V8's heap,
 * so the bytes stay where they are for as long as the caller keeps the buffer reachable.
 */
export function addressOf(buffer: Uint8Array | ArrayBuffer): bigint {
  return koffi.address(buffer);
}

/** `length` bytes at a pointer, not copied. Whoever frees them sees to it that nobody reads them any more. */
export function viewMemory(pointer: bigint, length: number): ArrayBuffer {
  return koffi.view(pointer, length);
}

/** A copy of `length` bytes at a pointer. */
export function copyMemory(pointer: bigint, length: number): Buffer {
  return length === 0 ? Buffer.alloc(0) : Buffer.from(Buffer.from(koffi.view(pointer, length)));
}

/** The NUL-terminated UTF-8 text at a pointer. */
export function readString(pointer: bigint): string {
  return koffi.decode.string(pointer);
}

/** `text` as C wants it, for a struct that holds a `const char *`. */
export function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

/**
 * Makes a function that C can call, until it is given to unregisterCallback().
 * C gets 0 when `callback` throws.
 *
 * @param prototype the C prototype, such as `int sample(void *context, void *data, size_t size)`
 */
export function registerCallback(
  prototype: string,
  callback: (...args: never[]) => number | undefined,
): bigint {
  return koffi.register(callback, koffi.pointer(koffi.proto(anonymous(prototype))));
}

/** Frees a callback's slot; C must not call it any more. */
export function unregisterCallback(callback: bigint): void {
  koffi.unregister(callback);
}

/** Watches one descriptor in Node's event loop. While started it keeps the process alive, unless unref'ed. */
export interface PollHandle {
  start(ready: () => void): void;
  stop(): void;
  /** Must come before the descriptor is closed. */
  close(): void;
  ref(): void;
  unref(): void;
}

/**
 * Calls `ready` whenever the descriptor is readable, once each turn of the event loop until it is stopped.
 * It runs outside of Node's callback scopes: what it resolves goes on only when a scope opens, so that it should
 * do no more than stop the handle and setImmediate(). A descriptor can be watched by one handle at a time.
 */
export function pollReadable(fd: number, ready: () => void): PollHandle {
  return koffi.node.poll(fd, { readable: true }, ready);
}

let prototypeCount = 0;

/** koffi keeps the names of prototypes for ever and refuses a second one: each gets a number. */
function anonymous(prototype: string): string {
  return prototype.replace(/(\w+)\s*\(/, (_match, name: string) => `${name}_${prototypeCount++}(`);
}

const PRINT_LEVEL_WARN = 0;
const PRINT_LEVEL_INFO = 1;
const PRINT_LINES_KEPT = 40;
const printed: string[] = [];

/**
 * Keeps what libbpf would print to stderr, for the texts of errors.
 * libbpf has one print function for the whole process, so that only the main thread sets it.
 */
function capturePrints(library: Handle): void {
  // verifier logs come through buffers of their own, so that nothing printed is long
  const buffer = Buffer.alloc(8192);
  const callback = registerCallback(
    'int print(int level, void *format, void *arguments)',
    (level: number, format: bigint, args: bigint) => {
      if (level > PRINT_LEVEL_INFO) return 0;
      const length = Math.min(libc.vsnprintf(buffer, buffer.length, format, args), buffer.length - 1);
      if (level === PRINT_LEVEL_WARN) keepPrinted(buffer.toString('utf8', 0, Math.max(length, 0)));
      return length;
    },
  );
  library.func('void *libbpf_set_print(void *print)')(callback);
}

function keepPrinted(text: string): void {
  for (const line of text.split('\n')) {
    if (line.trim() !== '') printed.push(line.replace(/^libbpf: /, ''));
  }
  if (printed.length > PRINT_LINES_KEPT) printed.splice(0, printed.length - PRINT_LINES_KEPT);
}

/** Forgets what libbpf has printed: called before an operation whose failure it may explain. */
export function clearPrinted(): void {
  printed.length = 0;
}

/** The last warnings of libbpf since clearPrinted(), oldest first, without its prefix. */
export function lastPrinted(): string[] {
  return [...printed];
}
