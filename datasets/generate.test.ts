import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { TraceFile } from '../capture/trace/reader.ts';
import { readRows, type TraceRow } from '../capture/trace/rows.ts';
import { verifyTrace } from '../capture/trace/verify.ts';
import { generateTrace, type GenerateOptions } from './generate.ts';

const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-generate-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const MEMORY = 2 ** 30;

async function rowsOf(name: string, options: GenerateOptions): Promise<TraceRow[]> {
  const path = join(folder, name);
  await generateTrace(path, options);
  const file = TraceFile.open(path);
  try {
    expect(file.metadata).toMatchObject({ source: 'generated', host: null });
    expect(file.complete).toBe(true);
    return [...readRows(file)];
  } finally {
    file.close();
  }
}

const value = (row: TraceRow | undefined, name: string): number => Number(row?.[name] ?? NaN);

test('a generated trace is a whole trace of as many rows as asked for', async () => {
  for (const rows of [1, 2, 5, 100, 70_000]) {
    const path = join(folder, `count-${rows}.arrow`);
    expect(await generateTrace(path, { rows, seed: 1 })).toMatchObject({ rows });
    expect(verifyTrace(path)).toMatchObject({ ok: true, problemCount: 0, rows, outOfOrder: 0, lostEvents: 0 });
  }
});

test('the seed decides every byte', async () => {
  const digest = async (name: string, seed: number): Promise<string> => {
    const path = join(folder, name);
    await generateTrace(path, { rows: 3000, seed });
    return createHash('sha256').update(readFileSync(path)).digest('hex');
  };
  const [a, again, other] = [
    await digest('a.arrow', 5),
    await digest('again.arrow', 5),
    await digest('other.arrow', 6),
  ];
  expect(again).toBe(a);
  expect(other).not.toBe(a);
});

test('an exit lasts as long as the operations inside it, and asks for what they do', async () => {
  const rows = await rowsOf('exits.arrow', { rows: 5000, seed: 3, memoryBytes: MEMORY, vcpus: 3 });
  let exits = 0;
  rows.forEach((exit, i) => {
    if (exit.op !== 'exit_map_gpa_range') return;
    exits++;
    const toPrivate = exit.attrs === 0x10n;
    const inside = rows.slice(i + 1, i + (toPrivate ? 4 : 3));
    expect(inside.map(({ op }) => op)).toEqual([
      'kvm_set_memory_attributes',
      ...(toPrivate ? ['gmem_allocate', 'ram_punch_hole'] : ['gmem_punch_hole']),
    ]);
    const end = value(exit, 'ts_ns') + value(exit, 'dur_ns');
    for (const row of inside) {
      expect(value(row, 'ts_ns') + value(row, 'dur_ns')).toBeLessThan(end);
      expect([row.tid, row.vcpu, row.len]).toEqual([exit.tid, exit.vcpu, exit.len]);
    }
    expect(value(inside[0], 'attrs')).toBe(toPrivate ? 8 : 0);
    expect(value(inside[1], 'offset')).toBe(value(exit, 'gpa'));
    expect(value(exit, 'gpa') + value(exit, 'len')).toBeLessThanOrEqual(MEMORY);
  });
  expect(exits / rows.length).toBeGreaterThan(1 / 7);
  expect(new Set(rows.map(({ vcpu }) => vcpu))).toEqual(new Set([0, 1, 2, null]));
  expect(rows.filter(({ op }) => op === 'mark').map(({ detail }) => detail)).toEqual([
    'firmware',
    'kernel',
    'userspace',
    'trace_end',
  ]);
});

test('a range goes to the side where it is not, and is touched where it is', async () => {
  const rows = await rowsOf('states.arrow', { rows: 5000, seed: 4, memoryBytes: 2 ** 24 });
  const isPrivate = new Uint8Array(2 ** 24 / 4096).fill(1);
  for (const row of rows) {
    const first = value(row, 'gpa') / 4096;
    if (row.op === 'exit_map_gpa_range') {
      expect(row.attrs).toBe(isPrivate[first] === 1 ? 0n : 0x10n);
      isPrivate.fill(row.attrs === 0x10n ? 1 : 0, first, first + value(row, 'len') / 4096);
    } else if (row.op === 'ram_touch' || row.op === 'gmem_touch') {
      expect(row.op).toBe(isPrivate[first] === 1 ? 'gmem_touch' : 'ram_touch');
    }
  }
});

test('options out of range', async () => {
  const path = join(folder, 'refused.arrow');
  await expect(generateTrace(path, { rows: 0, seed: 1 })).rejects.toThrow('0 rows');
  await expect(generateTrace(path, { rows: 1, seed: 1, memoryBytes: 4096 })).rejects.toThrow('memory of 4096 bytes');
  await expect(generateTrace(path, { rows: 1, seed: 1, memoryBytes: 2 ** 40 })).rejects.toThrow('memory of');
});
