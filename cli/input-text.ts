import { readFile } from 'node:fs/promises';
import { addAbortSignal } from 'node:stream';
import { CvmtraceError } from '../native/index.ts';
import type { VerbContext } from './verb.ts';

/** More than this is no query that a person wrote. */
const MAX_TEXT_BYTES = 16 * 1024 * 1024;

/**
 * Text of a file, or for "-" of standard input.
 * @throws CvmtraceError NO_INPUT, IO, or BAD_INPUT above 16 MiB.
 */
export async function readInputText(context: Pick<VerbContext, 'io' | 'signal'>, path: string): Promise<string> {
  if (path === '-') return readStream(context);
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
    throw new CvmtraceError(missing ? 'NO_INPUT' : 'IO', missing ? `no such file: ${path}` : `cannot read ${path}`, {
      path,
      cause,
    });
  }
}

async function readStream(context: Pick<VerbContext, 'io' | 'signal'>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of addAbortSignal(context.signal, context.io.stdin) as AsyncIterable<Buffer | string>) {
      const buffer = Buffer.from(chunk);
      bytes += buffer.length;
      if (bytes > MAX_TEXT_BYTES) throw new CvmtraceError('BAD_INPUT', 'standard input is longer than 16 MiB');
      chunks.push(buffer);
    }
  } catch (error) {
    context.signal.throwIfAborted();
    throw error;
  }
  return Buffer.concat(chunks).toString('utf8');
}
