/** Files that are no trace, no whole trace, or a trace that this version does not read: one sentence each, and a hint where there is one. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compressionRegistry, CompressionType, RecordBatchFileWriter, tableFromIPC, tableToIPC } from 'apache-arrow';
import { expect, test } from 'vitest';
import { BodyBuilder } from './encode.ts';
import { TraceFile } from './reader.ts';
import { sniffTraceKind } from './sniff.ts';
import { craftFile, METADATA, testFolder, thrownBy, traceSchema, writeTrace } from './testing/sample.ts';

const folder = testFolder();

function fileOf(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const openError = (path: string, code: 'BAD_INPUT' | 'NO_INPUT' = 'BAD_INPUT') =>
  thrownBy(() => TraceFile.open(path), code);

test('what is not there, and what is no file', () => {
  const missing = join(folder, 'missing.arrow');
  expect(openError(missing, 'NO_INPUT')).toMatchObject({ message: `${missing} does not exist`, path: missing });
  openError(join(fileOf('plain', 'x'), 'below.arrow'), 'NO_INPUT');
  const directory = join(folder, 'directory');
  mkdirSync(directory);
  expect(openError(directory).message).toContain('is a folder');
  const fifo = join(folder, 'fifo');
  execFileSync('mkfifo', [fifo]);
  expect(openError(fifo).message).toContain('not a regular file');
  thrownBy(() => sniffTraceKind(missing), 'NO_INPUT');
});

test('foreign formats are told apart', async () => {
  const trace = join(folder, 'trace.arrow');
  await writeTrace(trace, 3);
  const stream = tableToIPC(tableFromIPC(readFileSync(trace)), 'stream');
  const cases = [
    [fileOf('empty', ''), 'empty', /is empty$/],
    [fileOf('text', '{"json": true}'), 'other', /is not a trace: it does not begin with ARROW1$/],
    [fileOf('short', 'AR'), 'other', /is not a trace/],
    [fileOf('feather1', 'FEA1....FEA1'), 'other', /is not a trace/],
    [fileOf('parquet', 'PAR1....PAR1'), 'parquet', /is a Parquet file/],
    [fileOf('stream', stream), 'arrow-stream', /stream format, not in its file format/],
    [fileOf('magic', 'ARROW1'), 'arrow', /truncated after 6 bytes/],
    [fileOf('magics', 'ARROW1\0\0ARROW1'), 'arrow', /footer is missing/],
    [fileOf('cut', readFileSync(trace).subarray(0, -1)), 'arrow', /is truncated: its footer is missing$/],
  ] as const;
  for (const [path, kind, message] of cases) {
    expect(sniffTraceKind(path), path).toBe(kind);
    expect(openError(path).message).toMatch(message);
  }
  expect(openError(join(folder, 'stream')).hint).toContain('new_file');
  expect(openError(join(folder, 'cut')).hint).toBe(
    `see what can be saved: cvmtrace recover ${join(folder, 'cut')} -o OUT`,
  );
});

test('an Arrow file without our metadata', () => {
  const path = join(folder, 'other-arrow');
  writeFileSync(path, tableToIPC(tableFromIPC(tableToIPC(emptyTable(), 'file')), 'file'));
  expect(openError(path).message).toContain('its metadata has no key cvmtrace');
});

function emptyTable(): Parameters<typeof tableToIPC>[0] {
  const path = join(folder, 'crafted-empty');
  craftFile(path, { schema: traceSchema() });
  const table = tableFromIPC(readFileSync(path));
  table.schema.metadata.clear();
  return table;
}

test('metadata of another version, damaged, or not as its schema says', () => {
  const path = join(folder, 'metadata.arrow');
  const errorOf = (metadata: unknown) => {
    craftFile(path, { schema: traceSchema(metadata) });
    return openError(path);
  };
  const newer = errorOf({
    ...METADATA,
    format: { major: 2, minor: 1 },
    tool: { name: 'cvmtrace', version: '9.9' },
    clock: 'other',
  });
  expect(newer.message).toBe(`${path} has trace format 2.1 (written by cvmtrace 9.9), this cvmtrace reads format 1`);
  expect(newer.hint).toBe('upgrade cvmtrace, or export the trace with the version that wrote it');
  expect(errorOf(null).message).toContain('metadata');
  expect(errorOf({}).message).toContain("must have required property 'format'");
  expect(errorOf({ ...METADATA, clock: { ...METADATA.clock, baseNs: 5 } }).message).toContain(
    '/clock/baseNs must be string,null',
  );
  expect(errorOf({ ...METADATA, source: 'guessed' }).message).toContain('/source');
  const schema = traceSchema();
  schema.metadata.set('cvmtrace', '{"format":');
  craftFile(path, { schema });
  expect(openError(path).message).toBe(`the metadata of ${path} is not JSON`);
});

test('a later minor version and unknown keys are read and kept', () => {
  const path = join(folder, 'minor.arrow');
  const metadata = { ...METADATA, format: { major: 1, minor: 7 }, weather: { sunny: [true] } };
  craftFile(path, { schema: traceSchema(metadata) });
  const file = TraceFile.open(path);
  expect(file.metadata).toEqual(metadata);
  expect([file.rows, file.batchCount, file.complete, file.ops]).toEqual([0, 0, false, []]);
  file.close();
});

test('compressed buffers, with how to write them otherwise', async () => {
  const trace = join(folder, 'to-compress.arrow');
  await writeTrace(trace, 100);
  // Not LZ4, but apache-arrow takes a frame's first bytes for it, and the reader must not come as far as the data.
  const encode = (data: Uint8Array): Uint8Array => Buffer.concat([Uint8Array.of(4, 34, 77, 24, 0x40, 0, 0), data]);
  compressionRegistry.set(CompressionType.LZ4_FRAME, { encode, decode: (data) => data });
  const path = join(folder, 'compressed.arrow');
  const writer = new RecordBatchFileWriter({ compressionType: CompressionType.LZ4_FRAME });
  writer.write(tableFromIPC(readFileSync(trace)));
  writeFileSync(path, writer.finish().toUint8Array(true));
  const error = openError(path);
  expect(error.message).toBe(`${path} has compressed buffers, which cvmtrace does not read`);
  expect(error.hint).toContain("compression='uncompressed'");
});

test('a batch of 2 GiB, and blocks that are not where they can be', () => {
  const path = join(folder, 'blocks.arrow');
  const body = new BodyBuilder(0);
  const batches = [body.recordBatch(), body.recordBatch()];
  const message = (change: Partial<{ offset: number; metadataLength: number; bodyLength: number }>): string => {
    craftFile(path, {
      batches,
      listed: ([first, second]) => (first && second ? [first, { ...second, ...change }] : []),
    });
    return openError(path).message;
  };
  expect(message({ bodyLength: 2 ** 31 })).toContain('a batch of 2147483648 bytes');
  expect(message({ offset: 8 })).toContain('blocks that overlap at byte 8');
  expect(message({ offset: 2 ** 40 })).toContain('a block that ends at byte');
  expect(message({ metadataLength: 3 })).toContain('a message whose header has 3 bytes');
  expect(message({ metadataLength: -8 })).toContain('a message whose header has -8 bytes');
  expect(message({})).toContain('0 columns with 0 buffers where the schema has 18 with 37');
});
