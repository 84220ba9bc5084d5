/** Rows whose numbers no kernel writes: a damaged trace must give a report, or say that it is damaged. */
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { METADATA, testFolder } from '../../capture/trace/testing/sample.ts';
import { TraceWriter } from '../../capture/trace/writer.ts';
import { OPS } from '../../native/index.ts';
import { openAnalysis } from '../db/open-analysis.ts';
import { viewTopics } from '../db/views.ts';
import { analyzeTrace } from './report.ts';

const folder = testFolder();

const LARGEST = 2n ** 64n - 1n;
const u64 = fc.oneof(
  fc.constantFrom(0n, 1n, 4096n, 2n ** 52n, 2n ** 63n - 1n, 2n ** 63n, LARGEST),
  fc.bigInt(0n, LARGEST),
);
const row = fc.record({
  op: fc.nat(OPS.length - 1),
  vcpu: fc.nat(3),
  ts_ns: u64,
  dur_ns: u64,
  gpa: u64,
  len: u64,
  attrs: u64,
  flags: u64,
  result: fc.constantFrom(0n, -1n, -(2n ** 63n), 2n ** 63n - 1n),
});

test('every view and the report get through any numbers', async () => {
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 40 }), async (rows) => {
      const path = join(folder, `hostile-${runs++}.arrow`);
      const writer = TraceWriter.create(path, METADATA);
      const wide = (name: 'ts_ns' | 'dur_ns' | 'gpa' | 'len' | 'attrs' | 'flags') =>
        BigUint64Array.from(rows, (r) => r[name]);
      writer.append({
        rows: rows.length,
        op: Uint8Array.from(rows, ({ op }) => op),
        columns: {
          ts_ns: wide('ts_ns'),
          dur_ns: wide('dur_ns'),
          gpa: wide('gpa'),
          len: wide('len'),
          attrs: wide('attrs'),
          flags: wide('flags'),
          vcpu: Uint16Array.from(rows, ({ vcpu }) => vcpu),
          result: BigInt64Array.from(rows, ({ result }) => result),
        },
        validity: {},
      });
      await writer.finish({ exitStatus: 0, lostEvents: 0 });
      await using analysis = await openAnalysis([path], { threads: 1 });
      for (const topic of viewTopics()) await analysis.query(`select * from ${topic}`);
      expect((await analyzeTrace(analysis)).header.rows).toBe(rows.length + 1);
    }),
    { numRuns: 8, seed: 11 },
  );
});
