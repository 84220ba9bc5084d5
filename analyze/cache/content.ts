/** What a file holds: its hash, and the mark of an unchanged file that spares computing it again. */
import { createHash } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';

/** A file as the file system tells it apart from others and from what it was before. Decimal digits. */
export interface FileMark {
  readonly dev: string;
  readonly ino: string;
  readonly sizeBytes: string;
  readonly mtimeNs: string;
  /** Cannot be set: a changed file with its old mtime has a new one. */
  readonly ctimeNs: string;
}

/** A change within a tick of the file system's clock leaves no mark. */
const TICK_MS = 100;

/** Undefined if the path is no regular file. */
export function markOf(path: string): FileMark | undefined {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (!stat?.isFile()) return undefined;
  return {
    dev: String(stat.dev),
    ino: String(stat.ino),
    sizeBytes: String(stat.size),
    mtimeNs: String(stat.mtimeNs),
    ctimeNs: String(stat.ctimeNs),
  };
}

export function sameMark(a: FileMark, b: FileMark): boolean {
  return (
    a.dev === b.dev &&
    a.ino === b.ino &&
    a.sizeBytes === b.sizeBytes &&
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs
  );
}

/** Whether a file with this mark, read from now on, would show a change by another mark. */
export function isSettled(mark: FileMark): boolean {
  return Date.now() - Number(BigInt(mark.ctimeNs) / 1_000_000n) > TICK_MS;
}

/**
 * SHA-256 of a file's bytes, hexadecimal; some 1.5 GB/s where the CPU has instructions for it.
 * @throws the stream's own error, or the signal's reason.
 */
export async function hashFile(path: string, signal: AbortSignal, onBytes?: (bytes: number) => void): Promise<string> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    signal.throwIfAborted();
    hash.update(chunk);
    onBytes?.((bytes += chunk.length));
  }
  return hash.digest('hex');
}
