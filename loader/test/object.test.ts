// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import {
  BpfMap,
  BpfObject,
  BpfProgram,
  ensurePinDirectory,
  feature,
  LayoutError,
  mountBpffs,
  removePinDirectory,
  SyscallError,
  VerifierError,
} from '../src/index.js';
import { catchError } from './helpers/catch-error.js';
import { compileFixture } from './helpers/compile-fixture.js';
import { lacking } from './helpers/lacking.js';

const mapsObject = compileFixture('maps');
const refusedObject = compileFixture('refused');
const pinDirectory = `/sys/fs/bpf/libbpf-ts-object-${process.pid}`;

t.before(() => mountBpffs());
t.teardown(() => removePinDirectory(pinDirectory));

t.test(
  'an open object lists its maps and programs and has nothing in the kernel',
  { skip: lacking('global-data') },
  async (t) => {
    using object = BpfObject.open(mapsObject);

    t.same([...object.maps.keys()].sort(), ['.rodata', 'calls', 'counters', 'numbers']);
    t.same([...object.programs.keys()].sort(), ['call_next', 'count_packets', 'drop_frames', 'grow_packet']);
    const numbers = object.map('numbers');
    t.match(numbers, {
      type: 'hash',
      keySize: 4,
      valueSize: 8,
      maxEntries: 16,
      flags: 0,
      pinPath: undefined,
    });
    t.match(object.program('count_packets'), {
      type: 'sched_cls',
      section: 'tc',
      isLoaded: false,
      autoload: true,
    });
    t.match(
      catchError(() => numbers.map),
      { code: 'ERR_BPF_NOT_LOADED' },
    );
    t.match(
      catchError(() => object.program('drop_frames').fd).message,
      /it is not in the kernel.*Load its object/,
    );
  },
);

t.test('a loaded object has its maps and programs in the kernel', async (t) => {
  using object = BpfObject.open(mapsObject);
  object.load();

  const program = object.program('count_packets');
  t.equal(BpfProgram.fromId(program.id).tag, program.tag);
  t.match(program.tag, /^[0-9a-f]{16}$/);
  t.equal(program.type, 'sched_cls');
  t.ok(program.instructions > 10, 'instructions');
  t.equal(program.jitedBytes > 0, feature('jit').available, 'machine code');
  // told since Linux 5.16
  if (!lacking('loop-helper')) t.ok(program.info.verifiedInstructions > 0, 'verified instructions');
  const counters = object.map('counters').map;
  t.ok(program.mapIds.includes(counters.id), 'it uses the map');
  t.equal(BpfMap.fromId(counters.id).name, 'counters');
  const loadedAgo = uptime() - Number(program.loadTimeNs) / 1e9;
  t.ok(loadedAgo > -1 && loadedAgo < 60, `loaded ${loadedAgo} s ago`);
});

t.test(
  'sizes, flags and initial values change before load and not after it',
  { skip: lacking('global-data') },
  async (t) => {
    using object = BpfObject.open(mapsObject);
    const numbers = object.map('numbers');
    numbers.setMaxEntries(99);
    numbers.setFlags(1);
    const data = object.map('.rodata');
    t.equal(data.initialValue?.readUInt32LE(), 1);
    t.throws(() => data.setInitialValue(Buffer.alloc(1)), LayoutError);
    data.setInitialValue(Buffer.from([7, 0, 0, 0]));
    object.program('grow_packet').setAutoload(false);

    object.load();

    t.match(numbers.map, { maxEntries: 99, flags: 1, name: 'numbers' });
    object.program('count_packets').testRun({ data: Buffer.alloc(64) });
    t.equal(object.map('counters').map.get(Buffer.alloc(4))?.readBigUInt64LE(), 7n, 'step is 7');
    t.notOk(object.program('grow_packet').isLoaded, 'left out');
    const error = catchError(() => numbers.setMaxEntries(3));
    t.match(error, { code: 'ERR_BPF_SYSCALL', errnoName: 'EBUSY' });
    t.match(
      error.message,
      'Cannot set 3 entries for map "numbers": resource busy or locked (EBUSY). It must be done before load()',
    );
  },
);

t.test('a map left out is not created', async (t) => {
  using object = BpfObject.open(mapsObject);
  object.map('numbers').setAutocreate(false);

  object.load();

  t.throws(() => object.map('numbers').map, { code: 'ERR_BPF_NOT_LOADED' });
});

t.test('a program can be given another type', async (t) => {
  using object = BpfObject.open(mapsObject);
  object.program('count_packets').setType('sched_act');

  object.load();

  t.equal(object.program('count_packets').type, 'sched_act');
});

t.test('names that are not there are answered with those that are', async (t) => {
  using object = BpfObject.open(refusedObject);

  t.match(
    catchError(() => object.program('accept')).message,
    /Cannot find the program "accept" in ".*": it has accepted, reads_beyond/,
  );
  t.match(catchError(() => object.map('flows')).message, /it has none/);
});

t.test('a refused program is a VerifierError with its reason', async (t) => {
  using object = BpfObject.open(refusedObject);

  const error = catchError(() => object.load());

  t.ok(error instanceof VerifierError);
  t.match(error, { code: 'ERR_BPF_VERIFIER', program: 'reads_beyond', errnoName: 'EACCES' });
  t.match((error as VerifierError).summary, /^invalid access to packet/);
  // since Linux 5.0, with the types of functions
  if (!lacking('jmp32'))
    t.match((error as VerifierError).log, /data\[14\]/, 'the whole log, with the source');
  t.match(error.message, /^Cannot load program "reads_beyond": invalid access to packet.*\(EACCES\)\n/);
  t.notMatch(error.message, 'processed', 'no statistics');
  t.match(catchError(() => object.load()).message, /loading it has failed before/);
  t.match(
    catchError(() => object.program('accepted').fd),
    { code: 'ERR_BPF_NOT_LOADED' },
  );
});

t.test('libbpf prints nothing', async (t) => {
  const index = new URL('../src/index.js', import.meta.url).href;
  const script = `import { BpfObject } from '${index}';
    try { BpfObject.open('${refusedObject}').load(); } catch (error) { console.log(error.code); }`;

  const run = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });

  t.match(run, { status: 0, stdout: 'ERR_BPF_VERIFIER\n', stderr: '' });
});

t.test('the refused program can be left out', async (t) => {
  using object = BpfObject.open(refusedObject);
  object.program('reads_beyond').setAutoload(false);
  object.program('accepted').setLogLevel(1);

  object.load();

  t.match(object.program('accepted').verifierLog, /processed \d+ insns/);
});

t.test('what is no object file is an error with libbpf’s words', async (t) => {
  const path = join(t.testdir(), 'text.bpf.o');
  writeFileSync(
    path,
    'this is no object file, only a text that is long enough to be taken for one at first sight',
  );

  t.match(
    catchError(() => BpfObject.open('/nonexistent.bpf.o')).message,
    'Cannot open the object file "/nonexistent.bpf.o": no such file or directory (ENOENT)',
  );
  t.match(
    catchError(() => BpfObject.open(path)),
    { code: 'ERR_BPF_SYSCALL' },
  );
  t.match(catchError(() => BpfObject.open(path)).message, /libbpf says: /);
});

t.test('a map that the kernel refuses is named', async (t) => {
  using object = BpfObject.open(mapsObject);
  object.map('numbers').setFlags(0x4000_0000);

  const error = catchError(() => object.load());

  t.ok(error instanceof SyscallError);
  t.match(error.message, /^Cannot create map "numbers": invalid argument \(EINVAL\)/);
});

t.test('a second object finds the map that the first one pinned', async (t) => {
  ensurePinDirectory(pinDirectory);
  const path = join(pinDirectory, 'numbers');
  const first = BpfObject.open(mapsObject);
  first.map('numbers').setPinPath(path);
  first.load();
  first.map('numbers').map.set(Buffer.from([1, 0, 0, 0]), Buffer.alloc(8, 9));
  first.close();

  using second = BpfObject.open(mapsObject);
  second.map('numbers').setPinPath(path);
  second.load();

  t.same(second.map('numbers').map.get(Buffer.from([1, 0, 0, 0])), Buffer.alloc(8, 9));
  using third = BpfObject.open(mapsObject);
  third.map('numbers').setPinPath(path);
  third.map('numbers').setMaxEntries(17);
  const error = catchError(() => third.load());
  t.ok(error instanceof LayoutError);
  t.match(error.message, /it has 16 entries at most, the object 17/);
});

t.test('a map is reused only if its layout is the declared one', async (t) => {
  using existing = BpfMap.create({ type: 'hash', name: 'old', keySize: 4, valueSize: 8, maxEntries: 1000 });
  using other = BpfMap.create({ type: 'hash', name: 'other', keySize: 4, valueSize: 12, maxEntries: 16 });
  using object = BpfObject.open(mapsObject);

  const error = catchError(() => object.map('numbers').reuse(other));
  object.map('numbers').reuse(existing);
  object.load();

  t.match(
    error.message,
    /Cannot use map "other" \(id \d+\) as map "numbers": its value size is 12, the object's 8/,
  );
  t.equal(object.map('numbers').map.id, existing.id);
  t.equal(object.map('numbers').map.maxEntries, 1000);
});

t.test('a prog_array takes file descriptors of programs', async (t) => {
  using object = BpfObject.open(mapsObject);
  object.load();
  const run = () => object.program('call_next').testRun({ data: Buffer.alloc(64) }).retval;
  const calls = object.map('calls').map;
  const fd = Buffer.alloc(4);
  fd.writeUInt32LE(object.program('count_packets').fd);

  const before = run();
  calls.set(Buffer.from([1, 0, 0, 0]), fd);
  const after = run();

  t.equal(before, 42, 'an empty slot falls through');
  t.equal(after, 2, 'TC_ACT_SHOT of the program called');
  t.equal(
    calls.get(Buffer.from([1, 0, 0, 0]))?.readUInt32LE(),
    object.program('count_packets').id,
    'it reads as an id',
  );
  t.equal([...calls.entries()].length, 1, 'empty slots are no entries');
  calls.clear();
  t.equal(run(), 42, 'clear() empties the slots');
});

t.test('closing twice is harmless, and use after it is an error', async (t) => {
  const object = BpfObject.open(mapsObject);
  object.load();
  const declared = object.map('numbers');
  const map = declared.map;
  const program = object.program('count_packets');
  const { id } = map;
  object.close();
  object.close();
  map.close();
  program.close();

  t.match(
    catchError(() => map.get(Buffer.alloc(4))),
    { code: 'ERR_BPF_CLOSED' },
  );
  t.match(
    catchError(() => declared.maxEntries),
    { code: 'ERR_BPF_CLOSED' },
  );
  t.match(
    catchError(() => program.fd),
    { code: 'ERR_BPF_CLOSED' },
  );
  t.match(
    catchError(() => program.setAutoload(true)),
    { code: 'ERR_BPF_CLOSED' },
  );
  t.match(
    catchError(() => object.load()),
    { code: 'ERR_BPF_CLOSED' },
  );
  t.match(
    catchError(() => BpfMap.fromId(id)),
    { errnoName: 'ENOENT' },
    'it has left the kernel',
  );
});
