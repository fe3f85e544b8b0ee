// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * The native seam: the only file that imports koffi. It declares the functions of libbpf and libc that the
 * package uses, and binds each of them on its first use, so that importing the package loads no library.
 *
 * To use another function, add its C prototype to LIBBPF_FUNCTIONS or LIBC_FUNCTIONS. Structs go through
 * pointers to Buffers that the caller lays out; every layout assumes an LP64 machine.
 */

import { endianness } from 'node:os';
import { isMainThread } from 'node:worker_threads';
import koffi from 'koffi';
import { SyscallError, UnsupportedError } from './errors.js';

/** C prototypes of libbpf functions by name. Enums are written as the integers they are. */
const LIBBPF_FUNCTIONS = {
  libbpf_major_version: 'uint32_t libbpf_major_version()',
  libbpf_minor_version: 'uint32_t libbpf_minor_version()',
  libbpf_num_possible_cpus: 'int libbpf_num_possible_cpus()',
  libbpf_set_print: 'void *libbpf_set_print(void *print)',

  bpf_object__open_file: 'void *bpf_object__open_file(const char *path, void *opts)',
  bpf_object__load: 'int bpf_object__load(void *object)',
  bpf_object__close: 'void bpf_object__close(void *object)',
  bpf_object__name: 'const char *bpf_object__name(void *object)',
  bpf_object__next_map: 'void *bpf_object__next_map(void *object, void *map)',
  bpf_object__next_program: 'void *bpf_object__next_program(void *object, void *program)',

  bpf_map__name: 'const char *bpf_map__name(void *map)',
  bpf_map__fd: 'int bpf_map__fd(void *map)',
  bpf_map__type: 'uint32_t bpf_map__type(void *map)',
  bpf_map__key_size: 'uint32_t bpf_map__key_size(void *map)',
  bpf_map__value_size: 'uint32_t bpf_map__value_size(void *map)',
  bpf_map__max_entries: 'uint32_t bpf_map__max_entries(void *map)',
  bpf_map__set_max_entries: 'int bpf_map__set_max_entries(void *map, uint32_t max_entries)',
  bpf_map__map_flags: 'uint32_t bpf_map__map_flags(void *map)',
  bpf_map__set_map_flags: 'int bpf_map__set_map_flags(void *map, uint32_t flags)',
  bpf_map__reuse_fd: 'int bpf_map__reuse_fd(void *map, int fd)',
  bpf_map__autocreate: 'bool bpf_map__autocreate(void *map)',
  bpf_map__set_autocreate: 'int bpf_map__set_autocreate(void *map, bool autocreate)',
  bpf_map__pin_path: 'const char *bpf_map__pin_path(void *map)',
  bpf_map__set_pin_path: 'int bpf_map__set_pin_path(void *map, const char *path)',
  bpf_map__is_internal: 'bool bpf_map__is_internal(void *map)',
  bpf_map__initial_value: 'void *bpf_map__initial_value(void *map, void *size)',
  bpf_map__set_initial_value: 'int bpf_map__set_initial_value(void *map, void *data, size_t size)',
  bpf_map__set_inner_map_fd: 'int bpf_map__set_inner_map_fd(void *map, int fd)',

  bpf_program__name: 'const char *bpf_program__name(void *program)',
  bpf_program__section_name: 'const char *bpf_program__section_name(void *program)',
  bpf_program__fd: 'int bpf_program__fd(void *program)',
  bpf_program__insn_cnt: 'size_t bpf_program__insn_cnt(void *program)',
  bpf_program__type: 'uint32_t bpf_program__type(void *program)',
  bpf_program__set_type: 'int bpf_program__set_type(void *program, uint32_t type)',
  bpf_program__expected_attach_type: 'uint32_t bpf_program__expected_attach_type(void *program)',
  bpf_program__set_expected_attach_type:
    'int bpf_program__set_expected_attach_type(void *program, uint32_t type)',
  bpf_program__autoload: 'bool bpf_program__autoload(void *program)',
  bpf_program__set_autoload: 'int bpf_program__set_autoload(void *program, bool autoload)',
  bpf_program__set_log_buf: 'int bpf_program__set_log_buf(void *program, void *log, size_t size)',
  bpf_program__set_log_level: 'int bpf_program__set_log_level(void *program, uint32_t level)',

  bpf_map_create:
    'int bpf_map_create(uint32_t type, const char *name, uint32_t key_size, uint32_t value_size, uint32_t max_entries, void *opts)',
  bpf_map_lookup_elem: 'int bpf_map_lookup_elem(int fd, void *key, void *value)',
  bpf_map_lookup_and_delete_elem: 'int bpf_map_lookup_and_delete_elem(int fd, void *key, void *value)',
  bpf_map_update_elem: 'int bpf_map_update_elem(int fd, void *key, void *value, uint64_t flags)',
  bpf_map_delete_elem: 'int bpf_map_delete_elem(int fd, void *key)',
  bpf_map_get_next_key: 'int bpf_map_get_next_key(int fd, void *key, void *next_key)',
  bpf_map_freeze: 'int bpf_map_freeze(int fd)',
  bpf_map_lookup_batch:
    'int bpf_map_lookup_batch(int fd, void *in_batch, void *out_batch, void *keys, void *values, void *count, void *opts)',
  bpf_map_delete_batch: 'int bpf_map_delete_batch(int fd, void *keys, void *count, void *opts)',
  bpf_map_get_fd_by_id: 'int bpf_map_get_fd_by_id(uint32_t id)',
  bpf_prog_get_fd_by_id: 'int bpf_prog_get_fd_by_id(uint32_t id)',
  bpf_map_get_next_id: 'int bpf_map_get_next_id(uint32_t id, void *next)',
  bpf_prog_get_next_id: 'int bpf_prog_get_next_id(uint32_t id, void *next)',
  bpf_obj_get: 'int bpf_obj_get(const char *path)',
  bpf_obj_pin: 'int bpf_obj_pin(int fd, const char *path)',
  bpf_obj_get_info_by_fd: 'int bpf_obj_get_info_by_fd(int fd, void *info, void *length)',
  bpf_prog_test_run_opts: 'int bpf_prog_test_run_opts(int fd, void *opts)',
  bpf_prog_load:
    'int bpf_prog_load(uint32_t type, const char *name, const char *license, void *instructions, size_t count, void *opts)',

  bpf_tc_hook_create: 'int bpf_tc_hook_create(void *hook)',
  bpf_tc_hook_destroy: 'int bpf_tc_hook_destroy(void *hook)',
  bpf_tc_attach: 'int bpf_tc_attach(void *hook, void *opts)',
  bpf_tc_detach: 'int bpf_tc_detach(void *hook, void *opts)',
  bpf_tc_query: 'int bpf_tc_query(void *hook, void *opts)',
  bpf_xdp_attach: 'int bpf_xdp_attach(int ifindex, int fd, uint32_t flags, void *opts)',

  perf_buffer__new_raw:
    'void *perf_buffer__new_raw(int fd, size_t pages, void *attr, void *event, void *context, void *opts)',
  perf_buffer__free: 'void perf_buffer__free(void *buffer)',
  perf_buffer__epoll_fd: 'int perf_buffer__epoll_fd(void *buffer)',
  perf_buffer__buffer_cnt: 'size_t perf_buffer__buffer_cnt(void *buffer)',
  perf_buffer__buffer_fd: 'int perf_buffer__buffer_fd(void *buffer, size_t index)',
  perf_buffer__buffer: 'int perf_buffer__buffer(void *buffer, int index, void *memory, void *size)',
} as const;

/** C prototypes of libc functions by name. */
const LIBC_FUNCTIONS = {
  bind: 'int bind(int fd, void *address, uint32_t length)',
  close: 'int close(int fd)',
  fcntl: 'int fcntl(int fd, int command, int argument)',
  flock: 'int flock(int fd, int operation)',
  getpagesize: 'int getpagesize()',
  inotify_add_watch: 'int inotify_add_watch(int fd, const char *path, uint32_t mask)',
  inotify_init1: 'int inotify_init1(int flags)',
  mmap: 'void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)',
  mount: 'int mount(const char *source, const char *target, const char *type, ulong flags, void *data)',
  munmap: 'int munmap(void *address, size_t length)',
  prlimit: 'int prlimit(int pid, int resource, void *limit, void *old)',
  recv: 'int64_t recv(int fd, void *buffer, size_t size, int flags)',
  send: 'int64_t send(int fd, void *buffer, size_t size, int flags)',
  setns: 'int setns(int fd, int type)',
  setsockopt: 'int setsockopt(int fd, int level, int option, void *value, uint32_t length)',
  socket: 'int socket(int family, int type, int protocol)',
  syscall: 'int64_t syscall(int64_t number, int64_t first, void *second, int64_t third)',
  umount2: 'int umount2(const char *target, int flags)',
  unshare: 'int unshare(int flags)',
  vsnprintf: 'int vsnprintf(void *buffer, size_t size, void *format, void *arguments)',
} as const;

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
