import { onTestFinished } from 'vitest';
import type { ExecutedBatch, NativeSession, NullableColumns, OpName, Operands } from '../index.ts';
import { loadNative, OpBatch, OPS } from '../index.ts';

export const KIB = 1024;
export const MIB = 1024 * KIB;

/** A session that is closed when the test is over. */
export function openSession(): NativeSession {
  const session = loadNative().createSession();
  onTestFinished(async () => {
    await session.close();
  });
  return session;
}

export function wordsOf(operations: readonly (readonly [OpName, Operands])[]): Float64Array {
  const batch = new OpBatch(operations.length + 1);
  for (const [op, operands] of operations) batch.push(op, operands);
  return batch.words;
}

export interface Row extends Partial<Record<keyof NullableColumns, number | null>> {
  readonly op: OpName | undefined;
  readonly errno: number | undefined;
}

/** The columns as rows, null where the validity bitmap says so. */
export function rowsOf(batch: ExecutedBatch): Row[] {
  const names = Object.keys(batch.columns) as (keyof NullableColumns)[];
  return Array.from({ length: batch.rows }, (_, i) => ({
    op: OPS[batch.op[i] ?? -1],
    errno: batch.errno[i],
    ...Object.fromEntries(
      names.map((name) => {
        const bitmap = batch.validity[name];
        const valid = bitmap === undefined || (((bitmap[i >> 3] ?? 0) >> (i & 7)) & 1) === 1;
        return [name, valid ? Number(batch.columns[name]?.[i]) : null];
      }),
    ),
  }));
}
