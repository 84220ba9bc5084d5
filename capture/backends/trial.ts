import { CvmtraceError, type Native, OpBatch, type OpName, type Operands } from '../../native/index.ts';

/** Outcome of one tried operation: 0, or its errno. */
export interface Tried {
  readonly errno: number;
  /** E.g. "ENOTTY"; "" for 0. */
  readonly errnoName: string;
  /** What the call returned; 0 if it failed. */
  readonly result: number;
}

/**
 * Runs operations one after another in a session of their own and tells which failed: what a host can do is found by doing it, not by its version.
 */
export async function tryOperations(
  native: Native,
  operations: readonly (readonly [OpName, Operands, string?])[],
): Promise<Tried[]> {
  const batch = new OpBatch();
  for (const [op, operands, detail] of operations) batch.push(op, operands, detail);
  const session = native.createSession();
  try {
    const { errno, columns } = await session.execute(batch.words);
    return Array.from(errno, (number, row) => ({
      errno: number,
      errnoName: number === 0 ? '' : native.errnoName(number),
      result: number === 0 ? Number(columns.result[row]) : 0,
    }));
  } finally {
    await session.close();
  }
}

/** The error for a host that lacks what a backend cannot do without. */
export function unavailable(
  backend: string,
  tried: Tried,
  what: string,
  hints: Readonly<Record<string, string>>,
): CvmtraceError {
  return new CvmtraceError('UNAVAILABLE', `backend ${backend}: ${what}: ${tried.errnoName}`, {
    hint: hints[tried.errnoName] ?? 'cvmtrace probe says what this host can do; --backend two-memfd needs no KVM',
  });
}
