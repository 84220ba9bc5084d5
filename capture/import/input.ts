import { close, constants, fstat, open, read } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { Readable, Transform } from 'node:stream';
import { promisify } from 'node:util';
import * as zlib from 'node:zlib';
import { CvmtraceError } from '../../native/index.ts';
import { errnoOf, messageOf } from '../trace/file-error.ts';

const CHUNK_BYTES = 1024 * 1024;

/** What compressed data begins with: two bytes of gzip, four of zstd. */
const MAGIC_BYTES = 4;

export type Compression = 'gzip' | 'zstd';

/** Takes an input's bytes, decompressed; they are valid during the call only. */
export interface ByteTaker {
  /** Called once, before anything else. */
  begin(compression: Compression | null): void;
  chunk(bytes: Uint8Array): void;
  /** The compressed data is damaged or cut, and nothing comes after what was there so far. */
  damaged(): void;
}

export interface InputOptions {
  readonly signal: AbortSignal;
  /** Bytes read so far, and bytes of the file when it was opened (null if it has no size: a pipe). */
  readonly onRead?: ((bytes: number, ofBytes: number | null) => void) | undefined;
}

/**
 * Reads an input to its end, decompressed if it begins as gzip or zstd. An interrupt ends it early: what was read by then was taken.
 * @param input a path, or standard input
 * @throws CvmtraceError NO_INPUT, IO, or UNAVAILABLE if this Node has no zstd.
 */
export async function readInput(input: string | Readable, taker: ByteTaker, options: InputOptions): Promise<void> {
  const chunks = typeof input === 'string' ? fileChunks(input, options) : streamChunks(input, options);
  const { first, all } = await peek(chunks);
  const compression = compressionOf(first);
  taker.begin(compression);
  if (!compression) {
    for await (const chunk of all) taker.chunk(chunk);
    return;
  }
  try {
    await pipeline(copies(all), decompressor(compression), async (decompressed: AsyncIterable<Uint8Array>) => {
      for await (const chunk of decompressed) taker.chunk(chunk);
    });
  } catch (error) {
    // Errors of zlib name its own codes (Z_BUF_ERROR, Z_DATA_ERROR, ZSTD_error_...).
    if (!/^(Z_|ZSTD_)/.test(errnoOf(error) ?? '')) throw error;
    if (!options.signal.aborted) taker.damaged();
  }
}

async function* fileChunks(path: string, { signal, onRead }: InputOptions): AsyncGenerator<Uint8Array, undefined> {
  const fd = await openFile(path);
  try {
    const stat = await promisify(fstat)(fd);
    const size = stat.isFile() ? stat.size : null;
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
    for (let done = 0; !signal.aborted;) {
      const { bytesRead } = await promisify(read)(fd, buffer, 0, CHUNK_BYTES, null);
      if (bytesRead === 0) break;
      done += bytesRead;
      yield buffer.subarray(0, bytesRead);
      onRead?.(done, size);
    }
  } catch (cause) {
    if (errnoOf(cause) === 'EISDIR')
      throw new CvmtraceError('BAD_INPUT', `${path} is a folder`, { path, hint: 'name a file in it', cause });
    if (errnoOf(cause) === undefined || cause instanceof CvmtraceError) throw cause;
    throw new CvmtraceError('IO', `reading ${path} failed: ${messageOf(cause)}`, { path, cause });
  } finally {
    await promisify(close)(fd);
  }
}

async function openFile(path: string): Promise<number> {
  try {
    return await promisify(open)(path, constants.O_RDONLY);
  } catch (cause) {
    const missing = ['ENOENT', 'ENOTDIR'].includes(errnoOf(cause) ?? '');
    throw new CvmtraceError(
      missing ? 'NO_INPUT' : 'IO',
      missing ? `${path} does not exist` : `${path} cannot be opened: ${messageOf(cause)}`,
      { path, cause },
    );
  }
}

async function* streamChunks(
  stream: Readable,
  { signal, onRead }: InputOptions,
): AsyncGenerator<Uint8Array, undefined> {
  const stop = () => void stream.destroy();
  signal.addEventListener('abort', stop);
  let done = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer | string>) {
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
      done += bytes.length;
      yield bytes;
      onRead?.(done, null);
    }
  } catch (error) {
    // Destroying a stream that waits for data ends the loop with an error.
    if (!signal.aborted) throw error;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** The first bytes, enough to tell how they are compressed, and all bytes from there. */
async function peek(
  chunks: AsyncGenerator<Uint8Array, undefined>,
): Promise<{ readonly first: Uint8Array; readonly all: AsyncIterable<Uint8Array> }> {
  let first: Uint8Array = new Uint8Array(0);
  while (first.length < MAGIC_BYTES) {
    const { value } = await chunks.next();
    if (value === undefined) break;
    first = Buffer.concat([first, value]);
  }
  async function* all(): AsyncGenerator<Uint8Array> {
    if (first.length > 0) yield first;
    yield* chunks;
  }
  return { first, all: all() };
}

/** A stream keeps chunks for a while, and these are read into the same memory again. */
async function* copies(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, undefined> {
  for await (const chunk of chunks) yield Uint8Array.prototype.slice.call(chunk);
}

function compressionOf(first: Uint8Array): Compression | null {
  if (first[0] === 0x1f && first[1] === 0x8b) return 'gzip';
  if (first[0] === 0x28 && first[1] === 0xb5 && first[2] === 0x2f && first[3] === 0xfd) return 'zstd';
  return null;
}

function decompressor(compression: Compression): Transform {
  if (compression === 'gzip') return zlib.createGunzip({ chunkSize: CHUNK_BYTES });
  // In Node from 22.15 on.
  const create = (zlib as { createZstdDecompress?: () => Transform }).createZstdDecompress;
  if (!create) {
    throw new CvmtraceError('UNAVAILABLE', `the input is compressed with zstd, which Node ${process.version} cannot`, {
      hint: 'decompress it first: zstd -dc FILE | cvmtrace import - -o OUT',
    });
  }
  return create();
}
