// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import t from 'tap';
import { readCDocs } from '../src/c-docs.js';

/** What is found in a header, by name. */
function docs(...lines: string[]): Record<string, string> {
  return Object.fromEntries(readCDocs(lines.join('\n')));
}

t.test('a comment right above or behind on the line belongs to what it touches', async (t) => {
  t.strictSame(
    docs(
      '/* Of the file. */',
      '',
      '/* Of flow. */',
      'struct flow {',
      '\t__u32 a; /* of a */',
      '\t__u32 b;',
      '\t/* of c,',
      '\t * in two lines */',
      '\t__be32 c[4];',
      '\t__u64 d[2]; // of d',
      '',
      '\t/* of nothing */',
      '',
      '\t__u8 e;',
      '} __attribute__((packed));',
    ),
    { 'struct flow': 'Of flow.', 'flow.a': 'of a', 'flow.c': 'of c,\nin two lines', 'flow.d': 'of d' },
  );
});

t.test('constants of enums have theirs, with values, without a last comma, on one line', async (t) => {
  t.strictSame(
    docs(
      'enum state {',
      '\tSTATE_A, /* of A */',
      '\tSTATE_B = 1 << 2, /* of B */',
      '\t/* of C */',
      '\tSTATE_C = STATE_B | (3, 4), STATE_D,',
      '\tSTATE_E /* of E */',
      '};',
      'enum { LIMIT = 34 }; /* of LIMIT */',
      'enum { ONE = 1, TWO = 2 };',
    ),
    {
      'state.STATE_A': 'of A',
      'state.STATE_B': 'of B',
      'state.STATE_C': 'of C',
      'state.STATE_E': 'of E',
      LIMIT: 'of LIMIT',
    },
  );
});

t.test('maps, typedefs and nested structs are found', async (t) => {
  t.strictSame(
    docs(
      '/* Who writes it. */',
      'struct {',
      '\t__uint(type, BPF_MAP_TYPE_HASH);',
      '\t__type(key, __u32); /* not of the map */',
      '} flows SEC(".maps");',
      'typedef struct { __u32 x, y; /* both */ } point;',
      'struct outer {',
      '\tstruct {',
      '\t\t__u32 inner; /* of inner */',
      '\t};',
      '\tstruct part parts[2]; /* of parts */',
      '};',
    ),
    {
      flows: 'Who writes it.',
      'point.x': 'both',
      'point.y': 'both',
      'outer.inner': 'of inner',
      'outer.parts': 'of parts',
    },
  );
});

t.test('code, macros and strings are passed over', async (t) => {
  t.strictSame(
    docs(
      '#define BODY(x) { /* not */ \\',
      '\tx; } /* this */',
      '/* Of a function. */',
      'static inline int f(struct flow *flow)',
      '{',
      '\tint local = 1; /* of a local */',
      '\tif (flow->a == \'"\' || "/* no comment */"[0])',
      '\t\treturn local;',
      '\treturn 0;',
      '}',
      'static const struct flow flow = { .a = 1, /* of a value */ };',
      'struct real { int a; /* of a */ };',
    ),
    { 'real.a': 'of a' },
  );
});

t.test('what is broken ends, whatever it says', async (t) => {
  t.strictSame(docs('struct a { int b /* open */'), {});
  t.strictSame(docs('} } struct a {', 'int b; /* of b */'), { 'a.b': 'of b' });
  t.strictSame(docs('/* never closed'), {});
});
