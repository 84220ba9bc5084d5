import { createReadStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CvmtraceError } from '../native/index.ts';
import { makeOutputFile, type OutputFileOptions } from './output-file.ts';
import type { VerbContext } from './verb.ts';

/**
 * Makes a binary result in a file, or for "-" and undefined on standard output. Arrow and Parquet end with an index of what went before, so
 * they are made as a file first in either case.
 */
export async function writeBinary(
  context: Pick<VerbContext, 'output'>,
  out: string | undefined,
  options: OutputFileOptions,
  make: (path: string) => Promise<void>,
): Promise<void> {
  if (out !== undefined && out !== '-') {
    await makeOutputFile(out, options, make);
    return;
  }
  const folder = await mkdtemp(join(tmpdir(), 'cvmtrace-'));
  try {
    const path = join(folder, 'result');
    await make(path);
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) await context.output.write(chunk);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const BINARY_FORMATS: readonly string[] = ['arrow', 'parquet', 'perfetto'];

/** @throws CvmtraceError USAGE if a binary format would go to a terminal. */
export function refuseBinaryOnTerminal(
  context: Pick<VerbContext, 'io'>,
  format: string,
  out: string | undefined,
): void {
  if (!BINARY_FORMATS.includes(format)) return;
  if ((out !== undefined && out !== '-') || context.io.stdout.isTTY !== true) return;
  throw new CvmtraceError('USAGE', `${format} is binary and would garble the terminal`, {
    hint: 'write it to a file: -o OUT',
  });
}
