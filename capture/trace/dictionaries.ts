import { readColumnData } from './column-data.ts';
import { buffersOf, type TraceColumn } from './columns.ts';
import { decodeBatch, HeaderType } from './decode.ts';
import type { Block } from './encode.ts';
import type { FileSource } from './file-source.ts';
import { FlatbufferError } from './flatbuffer.ts';
import { readListedMessage } from './structure.ts';

/** An index of 8 bits reaches no further. */
const MAX_VALUES = 256;

const MAX_VALUE_BYTES = 1024 * 1024;

/** Texts, seen as a column of a batch of its own. */
const VALUES: TraceColumn = {
  name: 'dictionary',
  type: 'utf8',
  nullable: false,
  known: false,
  readable: true,
  dictionaryId: undefined,
  firstNode: 0,
  firstBuffer: 0,
};

/** Values of the dictionaries of readable columns, by Arrow's id; additions (deltas) are appended. Throws FlatbufferError. */
export function readDictionaries(
  source: FileSource,
  blocks: readonly Block[],
  columns: readonly TraceColumn[],
): ReadonlyMap<number, readonly string[]> {
  const wanted = new Set(
    columns.flatMap(({ readable, dictionaryId }) => (readable && dictionaryId !== undefined ? [dictionaryId] : [])),
  );
  const dictionaries = new Map<number, string[]>();
  for (const block of blocks) {
    const { header } = readListedMessage(source, block, HeaderType.dictionaryBatch);
    const id = header.size(0);
    if (!wanted.has(id)) continue;
    const known = dictionaries.get(id);
    const isDelta = header.bool(2);
    if (known && !isDelta) throw new FlatbufferError(`dictionary ${id} is there twice`);
    const data = header.table(1);
    if (!data) throw new FlatbufferError(`dictionary ${id} has no values`);
    const batch = decodeBatch(data, 1, 3);
    const buffers = buffersOf(VALUES, batch, block.bodyLength);
    if (
      batch.rows + (known?.length ?? 0) > MAX_VALUES ||
      (buffers.text?.length ?? 0) > MAX_VALUE_BYTES ||
      buffers.nullCount > 0
    ) {
      throw new FlatbufferError(
        `dictionary ${id} has ${batch.rows} values in ${buffers.text?.length ?? 0} bytes, ${buffers.nullCount} null`,
      );
    }
    const bodyOffset = block.offset + block.metadataLength;
    const texts = readColumnData(source, { column: VALUES, buffers, rows: batch.rows, bodyOffset, dictionarySize: 0 });
    if (texts.kind !== 'utf8') throw new FlatbufferError(`dictionary ${id} has no texts`);
    const { offsets, bytes } = texts;
    const values = Array.from({ length: batch.rows }, (_, i) =>
      Buffer.from(bytes.subarray(offsets[i], offsets[i + 1])).toString(),
    );
    dictionaries.set(id, [...(known ?? []), ...values]);
  }
  for (const [id, values] of dictionaries) {
    if (new Set(values).size !== values.length) throw new FlatbufferError(`dictionary ${id} has a value twice`);
  }
  return dictionaries;
}
