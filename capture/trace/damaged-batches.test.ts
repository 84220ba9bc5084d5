/** Files whose structure is right and whose columns are not, or are unusual. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  Bool,
  Dictionary,
  Field,
  Float64,
  Int32,
  List,
  Message,
  Struct,
  Table,
  tableFromIPC,
  tableToIPC,
  TimestampNanosecond,
  Uint16,
  Uint8,
  Utf8,
  Utf8View,
  vectorFromArray,
} from 'apache-arrow';
import { DictionaryBatch } from 'apache-arrow/ipc/metadata/message';
import { expect, test } from 'vitest';
import { OPS } from '../../native/index.ts';
import { asBytes, BodyBuilder, encodeOps, type EncodedMessage } from './encode.ts';
import { TraceFile } from './reader.ts';
import { readRows } from './rows.ts';
import { COLUMNS, WIDTH_BYTES } from './schema.ts';
import { craftFile, expectedRow, METADATA, testFolder, thrownBy, traceSchema, writeTrace } from './testing/sample.ts';

const folder = testFolder();
const path = join(folder, 'crafted.arrow');
const DICTIONARIES = [encodeOps(OPS)];

/** Adds one column to a batch. */
type Add = (body: BodyBuilder) => void;

/** A batch of two rows whose columns are all null or zero but for those that `change` adds. */
function batchWith(change: Readonly<Record<string, Add>> = {}): EncodedMessage {
  const body = new BodyBuilder(2);
  for (const column of COLUMNS) {
    const add = change[column.name];
    if (column.name === 'lag_ns') continue;
    if (add) add(body);
    else if (column.type === 'utf8') body.addUtf8(new Int32Array(3), new Uint8Array(), new Uint8Array(1), 2);
    else if (column.name === 'op') body.addFixed(Uint8Array.of(2, 3));
    else if (column.name === 'seq') body.addFixed(asBytes(BigUint64Array.of(0n, 1n)));
    else if (!column.nullable) body.addFixed(new Uint8Array(4));
    else body.addNulls(WIDTH_BYTES[column.type]);
  }
  return body.recordBatch();
}

function openWith(change: Readonly<Record<string, Add>>): TraceFile {
  craftFile(path, { dictionaries: DICTIONARIES, batches: [batchWith(change)] });
  return TraceFile.open(path);
}

function openError(change: Readonly<Record<string, Add>>): string {
  return thrownBy(() => openWith(change), 'BAD_INPUT').message;
}

function readError(column: string, change: Readonly<Record<string, Add>>): string {
  // A batch after it, so that opening does not already read the last row's columns.
  craftFile(path, { dictionaries: DICTIONARIES, batches: [batchWith(change), batchWith()] });
  const file = TraceFile.open(path);
  const { message } = thrownBy(() => file.readColumn(0, column), 'BAD_INPUT');
  file.close();
  return message;
}

const schemaError = (change: (fields: Field[]) => Field[]): string => {
  craftFile(path, { schema: traceSchema(METADATA, change) });
  return thrownBy(() => TraceFile.open(path), 'BAD_INPUT').message;
};

test('the crafted batch itself is good', () => {
  const file = openWith({});
  expect([...readRows(file)].map(({ seq, op }) => [seq, op])).toEqual([
    [0n, 'exit_map_gpa_range'],
    [1n, 'exit_memory_fault'],
  ]);
  file.close();
});

test('columns that are missing, twice there, or of another type', () => {
  expect(schemaError((fields) => fields.filter(({ name }) => name !== 'gpa'))).toContain('it has no column gpa');
  expect(schemaError((fields) => [...fields, new Field('gpa', new Float64(), true)])).toContain(
    'it has two columns gpa',
  );
  const swap = (field: Field): Field => (field.name === 'vcpu' ? new Field('vcpu', new Int32(), true) : field);
  expect(schemaError((fields) => fields.map(swap))).toContain('column vcpu is int32 and must be uint16');
  expect(schemaError((fields) => [...fields, new Field('seen', new Utf8View(), true)])).toContain(
    'a column of type utf8_view, which',
  );
  const plain = (field: Field): Field => (field.name === 'op' ? new Field('op', new Utf8(), false) : field);
  expect(schemaError((fields) => fields.map(plain))).toContain('column op is utf8 and must be dictionary<uint8, utf8>');
});

test('columns in another order, with unknown ones of any type between them', async () => {
  const trace = join(folder, 'trace.arrow');
  await writeTrace(trace, 4);
  const known = tableFromIPC(readFileSync(trace));
  const item = new Field('item', new Utf8(), true);
  const unknown = new Table({
    small: vectorFromArray([7, null, 9, 1, 2], new Uint16()),
    flag: vectorFromArray([true, false, null, true, true], new Bool()),
    when: vectorFromArray([1, 2, 3, 4, 5], new TimestampNanosecond()),
    nested: vectorFromArray([{ list: ['a', 'b'] }, null, { list: [] }, { list: null }, { list: ['c'] }], new Struct([new Field('list', new List(item), true)])), // prettier-ignore
    colour: vectorFromArray(['red', 'red', null, 'blue', 'red'], new Dictionary(new Utf8(), new Uint8(), 99)),
    text: vectorFromArray(['x', null, '', 'yz', 'é'], new Utf8()),
  });
  const table = unknown.assign(known);
  for (const [key, value] of known.schema.metadata) table.schema.metadata.set(key, value);
  writeFileSync(path, tableToIPC(table, 'file'));
  const file = TraceFile.open(path);
  expect(
    file.columns.filter((column) => !column.known).map(({ name, type, readable }) => [name, type, readable]),
  ).toEqual([
    ['small', 'uint16', true],
    ['flag', 'bool', false],
    ['when', 'timestamp', false],
    ['nested', 'struct', false],
    ['colour', 'dictionary<uint8, utf8>', true],
    ['text', 'utf8', true],
  ]);
  expect(file.complete).toBe(true);
  const rows = [...readRows(file)].slice(0, 4);
  expect(rows.map(({ small, colour, text }) => [small, colour, text])).toEqual([
    [7, 'red', 'x'],
    [null, 'red', null],
    [9, null, ''],
    [1, 'blue', 'yz'],
  ]);
  rows.forEach((row, seq) => expect(row).toMatchObject(expectedRow(seq)));
  file.close();
});

test('more than one dictionary batch: additions are appended, replacements refused', () => {
  const asDelta = (message: EncodedMessage): EncodedMessage => {
    const decoded = Message.decode(message.chunks[0]?.subarray(8) ?? new Uint8Array());
    if (!decoded.isDictionaryBatch()) throw new Error('not a dictionary batch');
    const flatbuffer = Message.encode(
      Message.from(new DictionaryBatch(decoded.header().data, 0, true), message.bodyLength),
    );
    const metadata = Buffer.alloc((8 + flatbuffer.length + 7) & ~7);
    metadata.writeInt32LE(-1);
    metadata.writeInt32LE(metadata.length - 8, 4);
    metadata.set(flatbuffer, 8);
    return { ...message, chunks: [metadata, ...message.chunks.slice(1)], metadataLength: metadata.length };
  };
  const [first, second] = [encodeOps(OPS.slice(0, 3)), encodeOps(OPS.slice(3))];
  craftFile(path, { dictionaries: [first, asDelta(second)], batches: [batchWith()] });
  const file = TraceFile.open(path);
  expect(file.ops).toEqual(OPS);
  file.close();
  const error = (dictionaries: readonly EncodedMessage[]): string => {
    craftFile(path, { dictionaries, batches: [batchWith()] });
    return thrownBy(() => TraceFile.open(path), 'BAD_INPUT').message;
  };
  expect(error([first, second])).toContain('dictionary 0 is there twice');
  expect(error([first, asDelta(first)])).toContain('dictionary 0 has a value twice');
  expect(error([encodeOps(Array.from({ length: 257 }, (_, i) => `op${i}`))])).toContain('has 257 values');
});

test('an index that the dictionary does not have', () => {
  const message = `column op has index ${OPS.length} in row 1, its dictionary has ${OPS.length} values`;
  expect(readError('op', { op: (body) => body.addFixed(Uint8Array.of(0, OPS.length)) })).toContain(message);
  craftFile(path, { batches: [batchWith()] });
  expect(thrownBy(() => TraceFile.open(path), 'BAD_INPUT').message).toContain('its dictionary has 0 values');
});

test('texts that are not what their offsets say, or no UTF-8', () => {
  const detail = (offsets: readonly number[], text: Uint8Array | string) =>
    readError('detail', { detail: (body) => body.addUtf8(Int32Array.from(offsets), Buffer.from(text)) });
  expect(detail([0, 2, 1], 'abc')).toContain('offsets that go back in row 2');
  expect(detail([-1, 0, 1], 'abc')).toContain('offsets that go back in row 0');
  expect(detail([0, 1, 4], 'abc')).toContain('text up to byte 4 of 3');
  expect(detail([0, 1, 2 ** 31 - 1], 'abc')).toContain('text up to byte 2147483647 of 3');
  expect(detail([0, 1, 3], Uint8Array.of(0x41, 0xc3, 0x28))).toContain('not UTF-8');
  // The whole is UTF-8, the rows are not.
  expect(detail([0, 1, 2], 'é')).toContain('not UTF-8');
});

test('buffers too short, nulls where there can be none, counts that do not fit', () => {
  expect(openError({ gpa: (body) => body.addFixed(new Uint8Array(15)) })).toContain(
    'column gpa has a buffer of 15 bytes in a batch of 2',
  );
  expect(openError({ detail: (body) => body.addUtf8(new Int32Array(2), new Uint8Array()) })).toContain(
    'column detail has a buffer of 8',
  );
  expect(openError({ errno: (body) => body.addFixed(new Uint8Array(4), new Uint8Array(1), 2) })).toContain(
    'column errno has nulls',
  );
  expect(openError({ gpa: (body) => body.addFixed(new Uint8Array(16), new Uint8Array(1), 3) })).toContain(
    'column gpa has 3 nulls',
  );
  expect(openError({ gpa: (body) => body.addFixed(new Uint8Array(16), new Uint8Array(0), 1) })).toContain(
    'column gpa has a buffer of 0',
  );
});

test('a column that says it has no nulls has none, whatever its bitmap', () => {
  const file = openWith({ vcpu: (body) => body.addFixed(asBytes(Uint16Array.of(5, 6)), new Uint8Array(1), 0) });
  expect(file.readColumn(0, 'vcpu')).toEqual({ kind: 'fixed', data: Uint16Array.of(5, 6), validity: undefined });
  file.close();
});

test('a column that cannot be read is a bug of the caller', () => {
  const file = openWith({});
  expect(() => file.readColumn(0, 'lag_ns')).toThrow('no readable column lag_ns');
  expect(() => file.readColumn(1, 'seq')).toThrow('no batch 1');
  file.close();
  file.close();
  expect(() => file.readColumn(0, 'seq')).toThrow('is closed');
});
