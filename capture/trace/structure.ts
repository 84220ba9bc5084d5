import { CvmtraceError } from '../../native/index.ts';
import {
  decodeFooter,
  decodeMessage,
  decodeSchema,
  HeaderType,
  MAX_METADATA_BYTES,
  UnsupportedError,
  type ArrowMessage,
  type ArrowSchema,
} from './decode.ts';
import { FILE_START, MAGIC, type Block } from './encode.ts';
import type { FileSource } from './file-source.ts';
import { FlatbufferError } from './flatbuffer.ts';
import { kindOf } from './sniff.ts';

/** Body of one batch; readers hold a column of it in memory. */
const MAX_BODY_BYTES = 2 ** 31 - 1;

/** 24 bytes for each batch: 5 million. */
const MAX_FOOTER_BYTES = 128 * 1024 * 1024;

/** Continuation marker and length before a message. */
const PREFIX_BYTES = 8;

/** Why a file ends early, and where what can be used ends. */
export interface Cut {
  /** First byte that is not used. */
  readonly offset: number;
  /** Bytes from there to the end of the file. */
  readonly bytes: number;
  readonly reason: string;
}

export interface FileStructure {
  readonly schema: ArrowSchema;
  readonly dictionaries: readonly Block[];
  readonly batches: readonly Block[];
  /** Set if there is no usable footer, so that the messages were read one after the other. */
  readonly cut: Cut | undefined;
}

/**
 * Finds the messages of a file: by its footer, or without one, if `allowPartial`, one after the other as far as they are complete.
 * @throws CvmtraceError BAD_INPUT with what the file is instead, or where it is damaged.
 */
export function readStructure(source: FileSource, allowPartial: boolean): FileStructure {
  refuseForeign(source);
  const { path } = source;
  const hint = `see what can be saved: cvmtrace recover ${path} -o OUT`;
  const footer = findFooter(source);
  if (footer === undefined) {
    if (allowPartial) return scanMessages(source, 'it has no footer');
    throw new CvmtraceError('BAD_INPUT', `${path} is truncated: its footer is missing`, { path, hint });
  }
  try {
    return { ...decodeChecked(source, footer.offset, footer.length), cut: undefined };
  } catch (cause) {
    if (!(cause instanceof FlatbufferError)) throw cause;
    if (cause instanceof UnsupportedError) throw damaged(path, 'its footer', cause);
    if (allowPartial) return scanMessages(source, `its footer is damaged: ${cause.message}`);
    throw new CvmtraceError('BAD_INPUT', `the footer of ${path} is damaged: ${cause.message}`, { path, hint, cause });
  }
}

function refuseForeign(source: FileSource): void {
  const { path } = source;
  const refuse = (message: string, hint = 'name a trace that cvmtrace wrote'): never => {
    throw new CvmtraceError('BAD_INPUT', message, { path, hint });
  };
  switch (kindOf(source)) {
    case 'arrow':
      if (source.sizeBytes < FILE_START.length) refuse(`${path} is truncated after ${source.sizeBytes} bytes`);
      return;
    case 'empty':
      return refuse(`${path} is empty`);
    case 'parquet':
      return refuse(`${path} is a Parquet file, where an Arrow trace is needed`);
    case 'arrow-stream':
      return refuse(
        `${path} is in Arrow's stream format, not in its file format`,
        'write it as a file: pyarrow.ipc.new_file instead of new_stream',
      );
    case 'other':
      return refuse(`${path} is not a trace: it does not begin with ARROW1`);
  }
}

/** Place of the footer's flatbuffer; undefined if the file does not end as an Arrow file does. */
function findFooter(source: FileSource): { offset: number; length: number } | undefined {
  const tailBytes = 4 + MAGIC.length;
  if (source.sizeBytes < FILE_START.length + tailBytes) return undefined;
  const tail = source.read(source.sizeBytes - tailBytes, tailBytes);
  if (!tail.subarray(4).equals(MAGIC)) return undefined;
  const length = tail.readInt32LE(0);
  return { offset: source.sizeBytes - tailBytes - length, length };
}

function decodeChecked(source: FileSource, offset: number, length: number): Omit<FileStructure, 'cut'> {
  if (length <= 0 || length > MAX_FOOTER_BYTES || offset < FILE_START.length)
    throw new FlatbufferError(`a length of ${length} bytes`);
  const footer = decodeFooter(source.read(offset, length));
  for (const blocks of [footer.dictionaries, footer.batches]) {
    let end = FILE_START.length;
    for (const block of blocks) {
      assertSizes(block);
      if (block.offset < end) throw new FlatbufferError(`blocks that overlap at byte ${block.offset}`);
      end = blockEnd(block);
      if (end > offset) throw new FlatbufferError(`a block that ends at byte ${end} of ${source.sizeBytes}`);
    }
  }
  return footer;
}

export function blockEnd({ offset, metadataLength, bodyLength }: Block): number {
  return offset + metadataLength + bodyLength;
}

function assertSizes({ metadataLength, bodyLength }: Block): void {
  if (metadataLength < PREFIX_BYTES || metadataLength > MAX_METADATA_BYTES) {
    throw new FlatbufferError(`a message whose header has ${metadataLength} bytes`);
  }
  if (bodyLength > MAX_BODY_BYTES) {
    throw new FlatbufferError(`a batch of ${bodyLength} bytes; the most that cvmtrace reads is ${MAX_BODY_BYTES}`);
  }
}

/** A message and its place; undefined at the end-of-stream marker. Throws FlatbufferError if it is torn or damaged. */
export function readMessageAt(source: FileSource, offset: number): { block: Block; message: ArrowMessage } | undefined {
  const rest = source.sizeBytes - offset;
  if (rest < PREFIX_BYTES) throw new FlatbufferError('the file ends where a message should begin');
  const prefix = source.read(offset, PREFIX_BYTES);
  const metadataLength = PREFIX_BYTES + prefix.readInt32LE(4);
  if (prefix.readInt32LE(0) !== -1) throw new FlatbufferError('there is no message');
  if (metadataLength === PREFIX_BYTES) return undefined;
  assertSizes({ offset, metadataLength, bodyLength: 0 });
  if (metadataLength > rest) throw new FlatbufferError("the file ends in a message's header");
  const message = decodeMessage(source.read(offset + PREFIX_BYTES, metadataLength - PREFIX_BYTES));
  const block = { offset, metadataLength, bodyLength: message.bodyLength };
  assertSizes(block);
  if (metadataLength + message.bodyLength > rest) throw new FlatbufferError("the file ends in a message's body");
  return { block, message };
}

/** The message of a block that the footer lists. Throws FlatbufferError if it is another one. */
export function readListedMessage(source: FileSource, block: Block, headerType: number): ArrowMessage {
  const found = readMessageAt(source, block.offset);
  if (found?.block.metadataLength !== block.metadataLength || found.block.bodyLength !== block.bodyLength) {
    throw new FlatbufferError('a message of another size than the footer says');
  }
  if (found.message.headerType !== headerType)
    throw new FlatbufferError(`a message of type ${found.message.headerType}`);
  return found.message;
}

/**
 * Reads the messages from the first on, as far as they are complete.
 * @throws CvmtraceError BAD_INPUT if not even the schema is.
 */
export function scanMessages(source: FileSource, why: string): FileStructure {
  const { path } = source;
  let schema: ArrowSchema;
  let offset: number;
  try {
    const first = readMessageAt(source, FILE_START.length);
    if (first?.message.headerType !== HeaderType.schema) throw new FlatbufferError('the first message is not a schema');
    schema = decodeSchema(first.message.header);
    offset = blockEnd(first.block);
  } catch (cause) {
    if (!(cause instanceof FlatbufferError)) throw cause;
    throw new CvmtraceError(
      'BAD_INPUT',
      `nothing in ${path} can be read: ${why}, and its schema is damaged: ${cause.message}`,
      {
        path,
        cause,
      },
    );
  }
  const dictionaries: Block[] = [];
  const batches: Block[] = [];
  let reason = why;
  try {
    for (;;) {
      const found = offset === source.sizeBytes ? undefined : readMessageAt(source, offset);
      if (!found) break;
      const { block, message } = found;
      if (message.headerType === HeaderType.dictionaryBatch) dictionaries.push(block);
      else if (message.headerType === HeaderType.recordBatch) batches.push(block);
      else throw new FlatbufferError(`a message of type ${message.headerType}`);
      offset = blockEnd(block);
    }
  } catch (error) {
    if (!(error instanceof FlatbufferError)) throw error;
    reason = `${why}; at byte ${offset} ${error.message}`;
  }
  return { schema, dictionaries, batches, cut: { offset, bytes: source.sizeBytes - offset, reason } };
}

/** BAD_INPUT for what a FlatbufferError found in the part of a file that `where` names. */
export function damaged(path: string, where: string, cause: FlatbufferError): CvmtraceError {
  if (cause instanceof UnsupportedError) {
    return new CvmtraceError('BAD_INPUT', `${path} has ${cause.message}, which cvmtrace does not read`, {
      path,
      hint: cause.hint,
      cause,
    });
  }
  const hint = `see all that is wrong with it: cvmtrace verify ${path}`;
  return new CvmtraceError('BAD_INPUT', `${path} is damaged: ${where}: ${cause.message}`, { path, hint, cause });
}
