import { CvmtraceError } from '../../native/index.ts';
import type { Block } from './encode.ts';
import { FileSource } from './file-source.ts';
import { TraceFile } from './reader.ts';
import { scanMessages } from './structure.ts';
import type { Problem } from './problem.ts';
import { RowChecks, type RowCounts } from './verify-rows.ts';

export interface Verification extends RowCounts {
  /** No problem is an error. */
  readonly ok: boolean;
  /** The first 100, in the order of the file. */
  readonly problems: readonly Problem[];
  /** All of them. */
  readonly problemCount: number;
  readonly rows: number;
  readonly batches: number;
  readonly sizeBytes: number;
}

const MAX_PROBLEMS = 100;

/**
 * Reads a whole trace and says what is wrong with it; memory does not grow with the number of rows.
 * @throws CvmtraceError NO_INPUT or IO if it cannot be read. What is wrong inside is in `problems`.
 */
export function verifyTrace(path: string): Verification {
  const check = new Check();
  let file: TraceFile;
  try {
    file = TraceFile.open(path, { allowPartial: true });
  } catch (error) {
    if (!(error instanceof CvmtraceError) || error.code !== 'BAD_INPUT') throw error;
    check.add({ kind: 'structure', severity: 'error', message: error.message });
    return check.result(undefined);
  }
  try {
    if (file.truncated) {
      check.add({
        kind: 'truncated',
        severity: 'error',
        message: `${file.truncated.bytes} bytes from byte ${file.truncated.offset} on are not used: ${file.truncated.reason}`,
      });
    } else compareFooter(file, check);
    const rows = new RowChecks(file, (problem) => check.add(problem));
    for (let batch = 0; batch < file.batchCount; batch++) rows.checkBatch(batch);
    if (!file.end && !file.truncated) {
      check.add({
        kind: 'end',
        severity: 'error',
        message: 'the last row is not trace_end: the capture was cut off',
        ...(file.rows > 0 ? { row: file.rows - 1 } : {}),
      });
    }
    return check.result(file, rows.counts());
  } finally {
    file.close();
  }
}

/** Collects problems. */
class Check {
  readonly #problems: Problem[] = [];
  #count = 0;
  #errors = 0;

  add(problem: Problem): void {
    this.#count++;
    if (problem.severity === 'error') this.#errors++;
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push(problem);
  }

  result(
    file: TraceFile | undefined,
    counts: RowCounts = { ops: {}, threads: 0, lostEvents: 0, outOfOrder: 0 },
  ): Verification {
    return {
      ok: this.#errors === 0,
      problems: this.#problems,
      problemCount: this.#count,
      rows: file?.rows ?? 0,
      batches: file?.batchCount ?? 0,
      sizeBytes: file?.sizeBytes ?? 0,
      ...counts,
    };
  }
}

/** Readers that go by the footer and those that read one message after the other must see the same trace. */
function compareFooter(file: TraceFile, check: Check): void {
  const source = FileSource.open(file.path);
  try {
    const scanned = scanMessages(source, '');
    const listed = Array.from({ length: file.batchCount }, (_, index) => file.batch(index).block);
    const differs =
      firstDifference(listed, scanned.batches) ?? firstDifference(file.dictionaryBlocks, scanned.dictionaries);
    if (differs !== undefined) {
      check.add({
        kind: 'footer',
        severity: 'error',
        message: `the footer and the messages differ at byte ${differs}`,
      });
    }
  } catch (error) {
    if (!(error instanceof CvmtraceError) || error.code !== 'BAD_INPUT') throw error;
    check.add({ kind: 'footer', severity: 'error', message: error.message });
  } finally {
    source.close();
  }
}

function firstDifference(listed: readonly Block[], found: readonly Block[]): number | undefined {
  for (let i = 0; i < Math.max(listed.length, found.length); i++) {
    const [a, b] = [listed[i], found[i]];
    if (a?.offset !== b?.offset || a?.bodyLength !== b?.bodyLength) return a?.offset ?? b?.offset;
  }
  return undefined;
}
