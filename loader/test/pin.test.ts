// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  BpfMap,
  BpfObject,
  BpfProgram,
  ensurePinDirectory,
  isBpffs,
  LayoutError,
  listPins,
  mountBpffs,
  pinKind,
  removePin,
  removePinDirectory,
} from '../src/index.js';
import { libc } from '../src/native.js';
import { catchError } from './helpers/catch-error.js';
import { compileFixture } from './helpers/compile-fixture.js';

const directory = `/sys/fs/bpf/libbpf-ts-pin-${process.pid}`;

t.before(() => mountBpffs());
t.teardown(() => removePinDirectory(directory));

function create(): BpfMap {
  return BpfMap.create({ type: 'hash', name: 'pinned', keySize: 4, valueSize: 4, maxEntries: 4 });
}

t.test('mountBpffs() mounts once', async (t) => {
  const path = join(t.testdir(), 'deep', 'bpf');
  t.teardown(() => libc.umount2(path, 0));

  t.equal(isBpffs(path), false, 'not there');
  t.equal(mountBpffs(path), true);
  t.equal(isBpffs(path), true);
  t.equal(mountBpffs(path), false, 'it is mounted already');
  libc.umount2(path, 0);
  t.equal(isBpffs(path), false, 'there, but another file system');
});

t.test('mount errors say what to do', async (t) => {
  t.match(
    catchError(() => mountBpffs('/proc/self/nothing')).message,
    /Cannot mount bpffs on "\/proc\/self\/nothing": /,
  );
});

t.test('a pinned map outlives its file descriptor', async (t) => {
  const path = join(directory, 'maps', 'pinned');
  ensurePinDirectory(join(directory, 'maps'));
  ensurePinDirectory(join(directory, 'maps'));
  const map = create();
  map.set(Buffer.alloc(4, 1), Buffer.alloc(4, 2));
  map.pin(path);
  map.close();

  using again = BpfMap.openPinned(path);

  t.same(again.get(Buffer.alloc(4, 1)), Buffer.alloc(4, 2));
  t.equal(again.id, map.id);
  t.equal(again.unpin(path), true);
  t.equal(again.unpin(path), false);
  t.match(
    catchError(() => BpfMap.openPinned(path)),
    { errnoName: 'ENOENT' },
  );
});

t.test('maps and programs are listed by path and told apart', async (t) => {
  const here = join(directory, 'list');
  ensurePinDirectory(join(here, 'maps'));
  ensurePinDirectory(join(here, 'programs'));
  using object = BpfObject.open(compileFixture('maps'));
  object.load();
  const mapPath = join(here, 'maps', 'numbers');
  const programPath = join(here, 'programs', 'drop_frames');
  object.map('numbers').map.pin(mapPath);
  object.program('drop_frames').pin(programPath);

  t.same(listPins(here), [
    { path: mapPath, kind: 'map' },
    { path: programPath, kind: 'program' },
  ]);
  t.equal(pinKind(join(here, 'nothing')), 'unknown');
  t.same(listPins(join(here, 'nothing')), []);
  using program = BpfProgram.openPinned(programPath);
  t.equal(program.id, object.program('drop_frames').id);
  t.equal(program.name, 'drop_frames');
  t.equal(
    catchError(() => BpfMap.openPinned(programPath)).message,
    `Cannot open the pinned map "${programPath}": a program is pinned there`,
  );
  t.throws(() => BpfProgram.openPinned(mapPath), LayoutError);
  t.equal(removePinDirectory(here), 2);
  t.same(listPins(here), []);
  t.equal(removePinDirectory(here), 0);
});

t.test('a pin is never replaced', async (t) => {
  const path = join(directory, 'taken');
  ensurePinDirectory(directory);
  using first = create();
  using second = create();
  first.pin(path);

  t.equal(
    catchError(() => second.pin(path)).message,
    `Cannot pin map "pinned" to "${path}": file already exists (EEXIST). ` +
      'Something is pinned there: remove it or open it instead',
  );
  t.equal(removePin(path), true);
  second.pin(path);
  using opened = BpfMap.openPinned(path);
  t.equal(opened.id, second.id);
});

t.test('pinning elsewhere says why not', async (t) => {
  const elsewhere = t.testdir();
  using map = create();

  t.match(
    catchError(() => map.pin(join(elsewhere, 'x'))).message,
    /does not lie in a bpffs\. Mount one first/,
  );
  t.match(catchError(() => map.pin(join(directory, 'no', 'x'))).message, /ENOENT.*ensurePinDirectory/);
  t.throws(() => ensurePinDirectory(join(elsewhere, 'pins')), LayoutError);
  mkdirSync(join(elsewhere, 'kept'));
  t.throws(() => removePinDirectory(elsewhere), LayoutError, 'nothing but bpffs is ever removed');
  t.throws(() => removePin(join(elsewhere, 'kept')), LayoutError);
  t.throws(() => listPins(elsewhere), LayoutError);
});
