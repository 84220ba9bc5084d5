import { type ExecutedBatch, loadNative, type Native, type NativeSession, OP_STRIDE, OPS } from '../../native/index.ts';

/** A host on which operations fail with the given errnos, for an operation's name, attrs and flags. */
export function hostWith(
  errnoOf: (op: string, attrs: number, flags: number) => number,
  names: Readonly<Record<number, string>> = {},
  runGuest: NativeSession['runGuest'] = () => Promise.resolve([]),
): Native {
  const session: Pick<NativeSession, 'execute' | 'close' | 'runGuest'> = {
    execute: (words) => {
      const rows = words.length / OP_STRIDE;
      const errno = Uint16Array.from({ length: rows }, (_, row) => {
        const [code = 0, , , , , attrs = NaN, flags = NaN] = words.subarray(row * OP_STRIDE);
        return errnoOf(OPS[code] ?? '', attrs, flags);
      });
      // Every capability that is asked for is there, memory attributes with KVM_MEMORY_ATTRIBUTE_PRIVATE.
      const columns = { result: new BigInt64Array(rows).fill(8n) } as Partial<ExecutedBatch['columns']>;
      return Promise.resolve({ rows, errno, columns } as ExecutedBatch);
    },
    runGuest,
    close: () => Promise.resolve(),
  };
  return {
    ...loadNative(),
    createSession: () => session as NativeSession,
    errnoName: (errno) => names[errno] ?? `E${errno}`,
  };
}
