import {
  loadNative,
  type ExecutedBatch,
  type Native,
  type NativeSession,
  type NullableColumns,
  OP_STRIDE,
  type OpName,
  OPS,
} from '../../../native/index.ts';

/** What the kernel answers to one operation. */
export interface Answer {
  readonly errno?: number;
  readonly result?: number;
}

export interface ScriptedOperation {
  readonly op: OpName;
  readonly obj: number;
  readonly attrs: number;
}

const WIDE = ['ts_ns', 'dur_ns', 'gpa', 'hva', 'iova', 'offset', 'len', 'attrs', 'flags'] as const;

/** A kernel that this machine does not have: each operation is answered by `answer`, in order, and nothing is executed. */
export function scriptedNative(
  answer: (operation: ScriptedOperation) => Answer,
  residentBytes: () => number = () => 0,
): Native {
  const session: Pick<NativeSession, 'execute' | 'cancel' | 'close' | 'clockBaseNs' | 'residentBytes'> = {
    execute: (words, options = {}) => Promise.resolve(execute(words, options.stopAtFailure === true, answer)),
    cancel: () => undefined,
    close: () => Promise.resolve(),
    clockBaseNs: process.hrtime.bigint(),
    residentBytes,
  };
  return { ...loadNative(), createSession: () => session as NativeSession };
}

function execute(
  words: Float64Array,
  stopAtFailure: boolean,
  answer: (operation: ScriptedOperation) => Answer,
): ExecutedBatch {
  const count = words.length / OP_STRIDE;
  const op = new Uint8Array(count);
  const errno = new Uint16Array(count);
  const result = new BigInt64Array(count);
  const valid = new Uint8Array(Math.ceil(count / 8));
  let rows = 0;
  for (; rows < count; rows++) {
    const at = rows * OP_STRIDE;
    const code = words[at] ?? 0;
    op[rows] = code;
    const answered = answer({ op: OPS[code] ?? 'mark', obj: words[at + 1] ?? NaN, attrs: words[at + 5] ?? NaN });
    errno[rows] = answered.errno ?? 0;
    const known = answered.result ?? (answered.errno ? undefined : 0);
    if (known !== undefined) {
      result[rows] = BigInt(known);
      valid[rows >> 3] = (valid[rows >> 3] ?? 0) | (1 << (rows & 7));
    }
    if (stopAtFailure && answered.errno) {
      rows++;
      break;
    }
  }
  const wide = Object.fromEntries(WIDE.map((name) => [name, new BigUint64Array(count)]));
  return {
    rows,
    op,
    errno,
    columns: { ...wide, vcpu: new Uint16Array(count), obj: new Uint32Array(count), result } as NullableColumns,
    validity: { result: valid },
    tid: 1,
    failures: errno.filter((error) => error !== 0).length,
    stopped: rows < count,
  };
}
