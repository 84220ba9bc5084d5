/**
 * Rows whose every value follows from their number, so that a process which is killed and the test that reads what it left agree on them. Plain
 * JavaScript because both use it: the process as it is, the test through its types in deterministic-rows.d.mts.
 */

const PID = 42;

/** Value of each column in row `seq`; `op` is a code, 64-bit columns are bigint. */
export function rowAt(seq) {
  const big = BigInt(seq);
  return {
    seq: big,
    ts_ns: seq % 10 === 4 ? null : big * 1000n,
    dur_ns: seq % 7 === 0 ? null : big % 1000n,
    pid: PID,
    tid: seq % 11 === 0 ? null : 100 + (seq % 3),
    vcpu: seq % 4 === 3 ? null : seq % 4,
    op: seq % 53,
    obj: seq % 5 === 0 ? null : seq % 6,
    gpa: seq % 2 === 1 ? null : big * 4096n,
    hva: 0x7f00_0000_0000n + big,
    iova: seq % 6 === 1 ? null : (1n << 32n) + big * 4096n,
    offset: seq % 3 === 0 ? null : big * 512n,
    len: (1n << 40n) + big,
    attrs: (1n << 64n) - 1n - big,
    flags: seq % 13 === 0 ? null : big,
    result: -big,
    errno: seq % 134,
    detail: seq % 9 === 0 ? `détail ${seq} 🙂` : null,
  };
}

const ARRAYS = {
  ts_ns: BigUint64Array,
  dur_ns: BigUint64Array,
  tid: Uint32Array,
  vcpu: Uint16Array,
  obj: Uint32Array,
  gpa: BigUint64Array,
  hva: BigUint64Array,
  iova: BigUint64Array,
  offset: BigUint64Array,
  len: BigUint64Array,
  attrs: BigUint64Array,
  flags: BigUint64Array,
  result: BigInt64Array,
};

/** Rows `first` to `first + rows` as the writer takes them. What is null has a value that would be noticed. */
export function batchAt(first, rows) {
  const op = new Uint8Array(rows);
  const errno = new Uint16Array(rows);
  const columns = {};
  const validity = {};
  for (const [name, ArrayType] of Object.entries(ARRAYS)) {
    columns[name] = new ArrayType(rows);
    validity[name] = new Uint8Array(Math.ceil(rows / 8) + 1).fill(0xff);
  }
  const detail = new Map();
  for (let i = 0; i < rows; i++) {
    const row = rowAt(first + i);
    op[i] = row.op;
    errno[i] = row.errno;
    for (const name of Object.keys(ARRAYS)) {
      const isWide = columns[name].BYTES_PER_ELEMENT === 8;
      columns[name][i] = row[name] ?? (isWide ? 77n : 77);
      if (row[name] === null) validity[name][i >> 3] &= ~(1 << (i & 7));
    }
    if (row.detail !== null) detail.set(i, row.detail);
  }
  // hva and len are never null: they come without a bitmap, as the executor gives them.
  delete validity.hva;
  delete validity.len;
  return { rows, op, errno, columns, validity, detail, pid: PID };
}
