import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { Message } from 'apache-arrow/ipc/metadata/message';
import { CvmtraceError } from '../../native/index.ts';
import { ColumnScratch } from './column-data.ts';
import { decodeMessage, HeaderType } from './decode.ts';
import { encodeFooter, FILE_START, fileEnd, type Block } from './encode.ts';
import { FileSource } from './file-source.ts';
import { TraceFile } from './reader.ts';
import { blockEnd, readMessageAt } from './structure.ts';
import { creationError, refuseExisting, syncFolder, writeError } from './write-error.ts';

const CHUNK_BYTES = 4 * 1024 * 1024;

export interface RecoverOptions {
  /** Replace an existing file at the output's path. */
  readonly force?: boolean;
}

export interface RecoveredTrace {
  readonly path: string;
  readonly rows: number;
  readonly batches: number;
  /** Complete batches that were left behind because a value in them is damaged. */
  readonly damagedBatches: number;
  /** Bytes of the input after what was kept: the torn batch, or what a damaged footer was. */
  readonly bytesDropped: number;
  /** What was wrong with the input. */
  readonly reason: string;
  /** It has no `trace_end` row and never will: readers go on saying that the capture was cut off. False in any case. */
  readonly complete: false;
}

/**
 * Makes a readable trace of what a crash left: every complete and valid batch, byte for byte, with a footer.
 * @throws CvmtraceError BAD_INPUT if not even the schema is whole, USAGE if nothing is wrong with the input, IO, NO_INPUT.
 */
export function recoverTrace(partial: string, path: string, options: RecoverOptions = {}): RecoveredTrace {
  const file = TraceFile.open(partial, { allowPartial: true });
  const source = FileSource.open(partial);
  try {
    const { truncated } = file;
    if (!truncated) {
      throw new CvmtraceError('USAGE', `${partial} has its footer: there is nothing to recover`, {
        path: partial,
        hint: file.complete
          ? `use it as it is, or check it: cvmtrace verify ${partial}`
          : 'its capture was cut off, and all that was kept of it is there: use it as it is',
      });
    }
    refuseExisting(path, options.force ?? false);
    const good = Array.from({ length: file.batchCount }, (_, index) => index).filter((index) =>
      isReadable(file, index),
    );
    const batches = good.map((index) => file.batch(index));
    writeRecovered(
      source,
      path,
      file.dictionaryBlocks,
      batches.map(({ block }) => block),
      options.force ?? false,
    );
    return {
      path,
      rows: batches.reduce((sum, { rows }) => sum + rows, 0),
      batches: batches.length,
      damagedBatches: file.batchCount - batches.length,
      bytesDropped: truncated.bytes,
      reason: truncated.reason,
      complete: false,
    };
  } finally {
    file.close();
    source.close();
  }
}

/** A batch can be complete and yet hold anything: after a power failure parts of a file may be zero. */
function isReadable(file: TraceFile, index: number): boolean {
  const scratch = new ColumnScratch();
  try {
    for (const { name, readable } of file.columns) if (readable) file.readColumn(index, name, scratch);
    return true;
  } catch (error) {
    if (error instanceof CvmtraceError && error.code === 'BAD_INPUT') return false;
    throw error;
  }
}

function writeRecovered(
  source: FileSource,
  path: string,
  dictionaries: readonly Block[],
  batches: readonly Block[],
  force: boolean,
): void {
  // Not NAME.partial: that may be the very file which is read.
  const temporary = `${path}.recovering`;
  let fd: number;
  try {
    fd = openSync(temporary, 'wx');
  } catch (cause) {
    throw creationError(path, temporary, cause);
  }
  try {
    try {
      writeAll(fd, FILE_START);
      const schema = readMessageAt(source, FILE_START.length);
      if (!schema) throw new Error('the schema was there before');
      const { metadataLength } = schema.block;
      copy(source, fd, schema.block);
      let offset = FILE_START.length + metadataLength;
      const place = (block: Block): Block => {
        copy(source, fd, block);
        const placed = { ...block, offset };
        offset = blockEnd(placed);
        return placed;
      };
      const placedDictionaries = dictionaries.map(place);
      const placedBatches = batches.map(place);
      writeAll(fd, fileEnd(encodeFooter(schemaAt(source, schema.block), placedDictionaries, placedBatches)));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    refuseExisting(path, force);
    renameSync(temporary, path);
    syncFolder(dirname(path));
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw cause instanceof CvmtraceError ? cause : writeError(path, source.path, cause);
  }
}

/** The schema as apache-arrow has it, for the footer. Its decoder trusts its input, so the bytes must have passed ours before. */
function schemaAt(source: FileSource, { offset, metadataLength }: Block): Parameters<typeof encodeFooter>[0] {
  const bytes = source.read(offset + 8, metadataLength - 8);
  if (decodeMessage(bytes).headerType !== HeaderType.schema) throw new Error('the schema was there before');
  const message = Message.decode(bytes);
  if (!message.isSchema()) throw new Error('the schema was there before');
  return message.header();
}

function copy(source: FileSource, fd: number, block: Block): void {
  const end = blockEnd(block);
  for (let offset = block.offset; offset < end; offset += CHUNK_BYTES) {
    writeAll(fd, source.read(offset, Math.min(CHUNK_BYTES, end - offset)));
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done);
}
