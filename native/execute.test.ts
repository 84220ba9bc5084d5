import { readdirSync, readlinkSync, truncateSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadNative, OP_STRIDE, opCode, RamFlag, type ExecuteOptions } from './index.ts';
import { KIB, MIB, openSession, rowsOf, wordsOf } from './testing/rows.ts';

const EBADF = 9;
const EFAULT = 14;
const EINVAL = 22;
const ENOSYS = 38;

const memfd = (obj: number, len = MIB) => ['ram_create', { obj, len, flags: RamFlag.memfd }] as const;

describe('rows', () => {
  test('have their operands, and null for those that were absent', async () => {
    const session = openSession();
    const batch = await session.execute(
      wordsOf([
        memfd(7),
        ['exit_map_gpa_range', { gpa: 2 ** 40, len: 8 * KIB, attrs: 16, vcpu: 3, peer: 1 }],
        ['ram_allocate', { obj: 7, offset: 4 * KIB, len: 8 * KIB }],
        ['mark', {}],
      ]),
    );
    const [created, exit, allocated, mark] = rowsOf(batch);
    expect(batch).toMatchObject({ rows: 4, failures: 0, stopped: false });
    expect(created).toMatchObject({ op: 'ram_create', errno: 0, obj: 7, len: MIB, flags: 1, gpa: null, result: 0 });
    expect(created?.hva).toBeGreaterThan(0);
    expect(exit).toMatchObject({
      op: 'exit_map_gpa_range',
      gpa: 2 ** 40,
      len: 8 * KIB,
      attrs: 16,
      vcpu: 3,
      obj: null,
      result: 0,
    });
    expect(allocated).toMatchObject({
      op: 'ram_allocate',
      obj: 7,
      offset: 4 * KIB,
      len: 8 * KIB,
      vcpu: null,
      hva: null,
      result: 0,
    });
    expect(mark).toMatchObject({ op: 'mark', obj: null, gpa: null, len: null, flags: null, result: null, dur_ns: 0 });
    expect(batch.validity).not.toHaveProperty('ts_ns');
    expect(batch.validity).not.toHaveProperty('dur_ns');
    expect(batch.columns).not.toHaveProperty('lag_ns');
  });

  test('stay aligned over many rows of every kind', async () => {
    const session = openSession();
    await session.execute(wordsOf([memfd(1)]));
    const count = 5003;
    const kinds = ['mark', 'ram_allocate', 'ram_punch_hole', 'iommu_map', 'ram_touch'] as const;
    const batch = await session.execute(
      wordsOf(
        Array.from({ length: count }, (_, i) => [
          kinds[i % 5] ?? 'mark',
          { obj: 1, ...(i % 7 ? { gpa: i } : {}), offset: (i % 256) * 4096, len: 4096, ...(i % 2 ? { vcpu: i } : {}) },
        ]),
      ),
    );
    expect(batch.rows).toBe(count);
    let end = 0;
    for (const [i, row] of rowsOf(batch).entries()) {
      const kind = kinds[i % 5];
      const expected = {
        op: kind,
        errno: kind === 'iommu_map' ? ENOSYS : 0,
        gpa: i % 7 ? i : null,
        vcpu: i % 2 ? i : null,
      };
      // toMatchObject on each row would dominate the test's time.
      if (Object.entries(expected).some(([key, value]) => row[key as keyof typeof row] !== value))
        expect(row).toMatchObject(expected);
      if ((row.ts_ns ?? -1) < end) expect(row.ts_ns).toBeGreaterThanOrEqual(end);
      end = (row.ts_ns ?? 0) + (row.dur_ns ?? 0);
    }
  });

  test('count from the time the session was made', async () => {
    const before = process.hrtime.bigint();
    const session = openSession();
    expect(session.clockBaseNs).toBeGreaterThanOrEqual(before);
    const batch = await session.execute(wordsOf([['mark', {}]]));
    const ts = session.clockBaseNs + (batch.columns.ts_ns[0] ?? 0n);
    expect(ts).toBeGreaterThanOrEqual(session.clockBaseNs);
    expect(ts).toBeLessThanOrEqual(process.hrtime.bigint());
  });

  test('are none for an empty batch', async () => {
    const batch = await openSession().execute(new Float64Array());
    expect(batch).toMatchObject({ rows: 0, failures: 0, stopped: false });
    expect(batch.columns.ts_ns).toHaveLength(0);
  });

  test('do not change with the words that they came from', async () => {
    const session = openSession();
    const words = wordsOf([['mark', { len: 5 }]]);
    const executed = session.execute(words);
    words.fill(NaN);
    expect(rowsOf(await executed)[0]).toMatchObject({ op: 'mark', len: 5 });
  });
});

describe('failures', () => {
  test('are rows, and the batch goes on', async () => {
    const session = openSession();
    const batch = await session.execute(
      wordsOf([
        ['exit_memory_fault', { gpa: 0, len: 4096, peer: 2 }],
        ['ram_allocate', { obj: 1, offset: 0, len: 4096 }],
        memfd(1),
        ['ram_allocate', { obj: 1, offset: MIB, len: 4096 }],
        ['iommu_fault', {}],
      ]),
    );
    expect(Array.from(batch.errno)).toEqual([0, EBADF, 0, EINVAL, ENOSYS]);
    expect(batch).toMatchObject({ rows: 5, failures: 3, stopped: false });
    expect(rowsOf(batch).map((row) => row.result)).toEqual([EINVAL, null, 0, null, null]);
  });

  test('can stop the batch', async () => {
    const batch = await openSession().execute(
      wordsOf([
        ['mark', {}],
        ['lost', {}],
        ['mark', {}],
      ]),
      { stopAtFailure: true },
    );
    expect(batch).toMatchObject({ rows: 2, failures: 1, stopped: true });
    expect(batch.columns.len).toHaveLength(2);
  });

  test('of a touch for want of memory are EFAULT, with the pages that were touched', async () => {
    const session = openSession();
    await session.execute(wordsOf([memfd(1)]));
    const file = readdirSync('/proc/self/fd')
      .map((fd) => `/proc/self/fd/${fd}`)
      .find((path) => isMemfd(path));
    truncateSync(file ?? '', 3 * 4096);
    const batch = await session.execute(
      wordsOf([
        ['ram_touch', { obj: 1, offset: 0, len: MIB, flags: 1 }],
        ['mark', {}],
      ]),
    );
    expect(rowsOf(batch)[0]).toMatchObject({ errno: EFAULT, result: 3 });
    expect(batch.rows).toBe(2);
  });
});

function isMemfd(path: string): boolean {
  try {
    return readlinkSync(path).includes('memfd:cvmtrace');
  } catch {
    return false;
  }
}

describe('malformed input rejects', () => {
  const mark = wordsOf([['mark', {}]]);

  test.each([
    ['a negative operand', 4, -1, 'operation 1: len is -1, not a whole number from 0 to 9007199254740991'],
    ['a fraction', 3, 1.5, 'operation 1: offset is 1.5'],
    ['an operand of 2^53', 2, 2 ** 53, 'operation 1: gpa is 9007199254740992'],
    ['an unknown operation', 0, 200, 'operation 1: op is 200'],
    ['an object number above 32 bits', 1, 2 ** 32, 'operation 1: obj is 4294967296'],
    ['a vCPU above 16 bits', 9, 65536, 'operation 1: vcpu is 65536'],
  ])('%s', async (_, word, value, message) => {
    const words = wordsOf([
      ['mark', {}],
      ['mark', {}],
    ]);
    words[OP_STRIDE + word] = value;
    await expect(openSession().execute(words)).rejects.toThrow(message);
    await expect(openSession().execute(words)).rejects.toBeInstanceOf(TypeError);
  });

  test('an exit that ends after the batch, and one in another', async () => {
    const session = openSession();
    await expect(session.execute(wordsOf([['exit_memory_fault', { peer: 1 }]]))).rejects.toThrow('but only 0 follow');
    const nested = wordsOf([
      ['exit_memory_fault', { peer: 1 }],
      ['exit_memory_fault', {}],
    ]);
    await expect(session.execute(nested)).rejects.toThrow('operation 1: an exit inside another exit');
  });

  test('words that are not whole operations, or no Float64Array', async () => {
    const session = openSession();
    await expect(session.execute(mark.subarray(0, 9))).rejects.toThrow('11 words per operation, not 9 in all');
    await expect(session.execute([0] as unknown as Float64Array)).rejects.toThrow('not a Float64Array');
    await expect(session.execute(undefined as unknown as Float64Array)).rejects.toThrow(TypeError);
  });

  test.each([
    { pace: 'fast' },
    { paceFactor: 0 },
    { paceFactor: NaN },
    { paceFactor: Infinity },
    { stopAtFailure: 1 },
    null,
  ])('options %o', async (options) => {
    await expect(openSession().execute(mark, options as unknown as ExecuteOptions)).rejects.toBeInstanceOf(TypeError);
  });

  test('options whose getter throws, with what it threw', async () => {
    const options: ExecuteOptions = {
      get pace(): 'asap' {
        throw new RangeError('from the getter');
      },
    };
    await expect(openSession().execute(mark, options)).rejects.toThrow('from the getter');
  });

  test('and the session goes on', async () => {
    const session = openSession();
    await expect(session.execute(mark.subarray(1))).rejects.toThrow(TypeError);
    expect((await session.execute(mark)).rows).toBe(1);
  });
});

describe('pacing', () => {
  const pauses = wordsOf([
    ['mark', {}],
    ['mark', { paceNs: 2e6 }],
    ['mark', { paceNs: 2e6 }],
  ]);

  test('relative: a pause before each, with its lag', async () => {
    const rows = rowsOf(await openSession().execute(pauses, { pace: 'relative', paceFactor: 0.5 }));
    expect(rows[0]?.lag_ns).toBeNull();
    for (const i of [1, 2]) {
      const gap = (rows[i]?.ts_ns ?? 0) - (rows[i - 1]?.ts_ns ?? 0);
      expect(gap).toBeGreaterThanOrEqual(1e6);
      expect(rows[i]?.lag_ns).toBe(gap - 1e6);
    }
  });

  test('absolute: due times count from the first batch', async () => {
    const session = openSession();
    const first = rowsOf(await session.execute(wordsOf([['mark', { paceNs: 1 }]]), { pace: 'absolute' }));
    const second = rowsOf(await session.execute(wordsOf([['mark', { paceNs: 3e6 }]]), { pace: 'absolute' }));
    const due = (row: (typeof first)[0] | undefined) => (row?.ts_ns ?? 0) - (row?.lag_ns ?? 0);
    expect(due(second[0]) - due(first[0])).toBe(3e6 - 1);
  });

  test('asap ignores it', async () => {
    const batch = await openSession().execute(wordsOf([['mark', { paceNs: 3600e9 }]]));
    expect(batch.rows).toBe(1);
    expect(batch.columns).not.toHaveProperty('lag_ns');
  });
});

describe('cancel', () => {
  test('wakes a pause, and lets queued batches end with 0 rows', async () => {
    const session = openSession();
    const running = session.execute(wordsOf([memfd(1), ['mark', { paceNs: 3600e9 }]]), { pace: 'relative' });
    const queued = session.execute(wordsOf([['mark', {}]]));
    while (session.openObjects === 0) await new Promise((resolve) => setImmediate(resolve));
    session.cancel();
    expect(await running).toMatchObject({ rows: 1, stopped: true });
    expect(await queued).toMatchObject({ rows: 0, stopped: true });
    expect(await session.execute(wordsOf([['mark', {}]]))).toMatchObject({ rows: 1, stopped: false });
  });

  test('stops a long touch', async () => {
    const session = openSession();
    const touch = ['ram_touch', { obj: 1, offset: 0, len: 1024 * MIB, flags: 0 }] as const;
    const running = session.execute(
      wordsOf([['ram_create', { obj: 1, len: 1024 * MIB, flags: 0 }], ...Array.from({ length: 200 }, () => touch)]),
    );
    while (session.openObjects === 0) await new Promise((resolve) => setImmediate(resolve));
    session.cancel();
    const batch = await running;
    expect(batch.stopped).toBe(true);
    expect(batch.rows).toBeLessThan(201);
  });

  test('without anything to cancel does nothing', async () => {
    const session = openSession();
    session.cancel();
    expect(await session.execute(wordsOf([['mark', {}]]))).toMatchObject({ rows: 1 });
    session.cancel();
    expect(await session.execute(wordsOf([['mark', {}]]))).toMatchObject({ rows: 1 });
  });
});

describe('resident pages', () => {
  test('are those that were allocated and not punched', async ({ skip }) => {
    const { errno = 0 } = loadNative().probeHost().attempts['memory.cachestat'] ?? {};
    if (errno) skip(`cachestat: ${loadNative().errnoName(errno)}`);
    const session = openSession();
    await session.execute(
      wordsOf([
        memfd(1),
        ['ram_allocate', { obj: 1, offset: 0, len: 12 * 4096 }],
        ['ram_punch_hole', { obj: 1, offset: 4096, len: 4096 }],
      ]),
    );
    expect(session.residentBytes(1)).toBe(11 * 4096);
    const pages = session.residentPages(1);
    expect(pages).toHaveLength(32);
    expect(Array.from(pages.subarray(0, 3))).toEqual([0xfd, 0x0f, 0]);
  });

  test('of what has no file throw, with code', async () => {
    const session = openSession();
    await session.execute(wordsOf([['ram_create', { obj: 1, len: 4096, flags: 0 }]]));
    for (const obj of [1, 99]) {
      expect(() => session.residentBytes(obj)).toThrow(
        expect.objectContaining({ code: 'EBADF', syscall: 'cachestat' }),
      );
      expect(() => session.residentPages(obj)).toThrow(expect.objectContaining({ code: 'EBADF' }));
    }
    expect(() => session.residentBytes('1' as unknown as number)).toThrow(TypeError);
  });
});

test('codes of operations are those of the words', () => {
  expect(
    wordsOf([
      ['mark', {}],
      ['gmem_touch', {}],
    ])[OP_STRIDE],
  ).toBe(opCode('gmem_touch'));
});
