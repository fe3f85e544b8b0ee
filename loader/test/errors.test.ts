// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import t from 'tap';
import {
  BpfError,
  CompileError,
  errnoName,
  errnoText,
  FormatError,
  LayoutError,
  SyscallError,
  UnsupportedError,
  VerifierError,
} from '../src/errors.js';

t.test('a SyscallError says what, to what, why and what to do', async (t) => {
  const cause = new Error('deeper');
  const error = new SyscallError('pin map "flows"', 17, { hint: 'Remove it', cause });

  t.equal(error.message, 'Cannot pin map "flows": file already exists (EEXIST). Remove it');
  t.match(error, {
    name: 'SyscallError',
    code: 'ERR_BPF_SYSCALL',
    errno: 17,
    errnoName: 'EEXIST',
    operation: 'pin map "flows"',
    cause,
  });
  t.ok(error instanceof BpfError && error instanceof Error);
});

t.test('a missing privilege always has advice', async (t) => {
  t.match(
    new SyscallError('load it', 1).message,
    /operation not permitted \(EPERM\)\. Run as root, or with .*CAP_BPF/,
  );
  t.match(new SyscallError('load it', 1, { hint: 'Better advice' }).message, /\(EPERM\)\. Better advice$/);
});

t.test('error numbers have their usual names and words', async (t) => {
  const expected: [number, string, string][] = [
    [2, 'ENOENT', 'no such file or directory'],
    [11, 'EAGAIN', 'resource temporarily unavailable'],
    [77, 'EBADFD', 'file descriptor in bad state'],
    [95, 'EOPNOTSUPP', 'operation not supported on socket'],
    [116, 'ESTALE', 'stale file handle'],
    [524, 'ENOTSUPP', 'operation is not supported by this kernel object'],
    [4003, 'LIBBPF_ERRNO__ENDIAN', 'the object is of another byte order'],
    [9999, 'errno 9999', 'the system call failed'],
  ];
  for (const [number, name, text] of expected) t.same([errnoName(number), errnoText(number)], [name, text]);
});

t.test('a VerifierError shows the last lines and counts the others', async (t) => {
  const trace = Array.from({ length: 40 }, (_, i) => `${i}: (b7) r0 = ${i}`);
  const log = [
    'func#0 @0',
    '0: R1=ctx() R10=fp0',
    ...trace,
    '',
    'math between pkt pointer and register with unbounded min value is not allowed',
    'processed 40 insns (limit 1000000) max_states_per_insn 0 total_states 0',
    'verification time 12 usec',
  ].join('\n');

  const error = new VerifierError('nat_egress', log, { errno: 13 });

  const lines = error.message.split('\n');
  t.equal(
    lines[0],
    'Cannot load program "nat_egress": math between pkt pointer and register with unbounded min value is not allowed (EACCES)',
  );
  t.equal(lines[1], '    (31 lines omitted)');
  t.equal(lines.length, 2 + 12);
  t.match(error, { program: 'nat_egress', log, errnoName: 'EACCES' });
  t.equal(error.summary, 'math between pkt pointer and register with unbounded min value is not allowed');
});

t.test('a reason in two lines is shown whole', async (t) => {
  const log =
    '2: (71) r1 = *(u8 *)(r1 +14)\ninvalid access to packet, off=14\nR1 offset is outside of the packet\n';

  const { summary } = new VerifierError('x', log, { errno: 13 });

  t.equal(summary, 'invalid access to packet, off=14; R1 offset is outside of the packet');
});

t.test('a refusal without a log is said to be one', async (t) => {
  const error = new VerifierError('x', '', { errno: 22, hint: 'Ask again' });

  t.equal(error.message, 'Cannot load program "x": the verifier gave no reason (EINVAL). Ask again');
});

t.test('the other classes have their codes', async (t) => {
  const unsupported = new UnsupportedError('TCX', 'Linux 6.6', { hint: 'Use clsact' });
  t.match(unsupported, { code: 'ERR_BPF_UNSUPPORTED', feature: 'TCX', since: 'Linux 6.6' });
  t.equal(unsupported.message, 'Cannot use TCX: it needs Linux 6.6. Use clsact');
  const layout = new LayoutError('read map "x"', 'its keys have 4 bytes');
  t.match(layout, {
    code: 'ERR_BPF_LAYOUT',
    operation: 'read map "x"',
    message: 'Cannot read map "x": its keys have 4 bytes',
  });
  const whole = new LayoutError('Cannot lay out struct flow: it contains itself');
  t.match(whole, {
    operation: 'lay out struct flow',
    message: 'Cannot lay out struct flow: it contains itself',
  });
  t.match(new CompileError('compile "a.c"', 'no clang'), { code: 'ERR_BPF_COMPILE' });
  t.match(new FormatError('ELF', 4, 'not 64-bit'), {
    code: 'ERR_BPF_FORMAT',
    offset: 4,
    message: 'Cannot read ELF at byte 4: not 64-bit',
  });
});
