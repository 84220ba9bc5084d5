import { basename } from 'node:path';
import type { Readable } from 'node:stream';
import { CvmtraceError, opCode, PACKAGE_VERSION } from '../../native/index.ts';
import type { TraceBatch } from '../trace/batch.ts';
import { FORMAT_VERSION, type ClockInfo, type KnownMetadata, type TraceMetadata } from '../trace/metadata.ts';
import { refuseExisting } from '../trace/write-error.ts';
import { TraceWriter, type WrittenTrace } from '../trace/writer.ts';
import { unknownName } from '../unknown-name.ts';
import { alignedBase, clockInfo, clockName } from './clocks.ts';
import { detectFormat, HEAD_BYTES, SURE } from './detect-format.ts';
import type { ByteParser, ImportFormat, ImportOptions } from './format.ts';
import { FORMATS } from './formats.ts';
import { readInput, type ByteTaker, type Compression } from './input.ts';
import { LineSplitter } from './lines.ts';
import { RowSink } from './row-sink.ts';
import { type TroubleKind, Troubles } from './troubles.ts';

const LOST = opCode('lost');
const TROUBLE = opCode('import_trouble');

export interface LogImport {
  /** Path, or a stream for standard input. */
  readonly input: string | Readable;
  /** Name of a format; absent: by content. */
  readonly format?: string | undefined;
  readonly options: ImportOptions;
  /** Added to all times of the log, ns. */
  readonly clockOffsetNs?: bigint | undefined;
  /** The trace on whose base times are put. */
  readonly align?: { readonly path: string; readonly clock: ClockInfo } | undefined;
  readonly out: string;
  readonly force: boolean;
  readonly command: readonly string[];
  readonly signal: AbortSignal;
  readonly onRead?: (bytes: number, ofBytes: number | null) => void;
}

export interface ImportSummary extends WrittenTrace {
  readonly format: string;
  readonly compressed: Compression | null;
  readonly clock: ClockInfo;
  /** Rows of the log; the trace has more: what was not understood, and its end. */
  readonly imported: number;
  readonly lostEvents: number;
  readonly troubles: readonly TroubleKind[];
  readonly interrupted: boolean;
}

/**
 * Imports a log into a trace. Memory does not grow with the log.
 * @throws CvmtraceError NO_INPUT or IO if the log cannot be read or the trace not written; BAD_INPUT if no format fits or nothing was understood, and
 * then no trace is left; USAGE for a format or clock that does not exist or does not fit; UNAVAILABLE without zstd.
 */
export async function importLog(run: LogImport): Promise<ImportSummary> {
  refuseExisting(run.out, run.force);
  const import_ = new RunningImport(run);
  try {
    await readInput(run.input, import_, run);
    return await import_.finish();
  } finally {
    import_.discard();
  }
}

/** How an input is called in messages and metadata. */
export function inputName(input: string | Readable): string {
  return typeof input === 'string' ? basename(input) : '-';
}

class RunningImport implements ByteTaker {
  readonly #run: LogImport;
  readonly #troubles = new Troubles();
  readonly #sink: RowSink;
  /** The first bytes, as long as the format is not known. */
  #head: Buffer = Buffer.alloc(0);
  #format: ImportFormat | undefined;
  #parser: ByteParser | undefined;
  #writer: TraceWriter | undefined;
  #compressed: Compression | null = null;
  #lost = 0;

  constructor(run: LogImport) {
    this.#run = run;
    if (run.format !== undefined) this.#format = formatNamed(run.format);
    const { clockOffsetNs, align } = run;
    this.#sink = new RowSink({
      troubles: this.#troubles,
      consume: (batch) => this.#write(batch),
      ...(clockOffsetNs === undefined ? {} : { clockOffsetNs }),
      ...(align && {
        chooseBase: () => alignedBase(this.#clockName, align.clock, align.path, clockOffsetNs !== undefined),
      }),
    });
  }

  begin(compression: Compression | null): void {
    this.#compressed = compression;
  }

  chunk(bytes: Uint8Array): void {
    if (this.#parser) {
      this.#parser.chunk(bytes);
      return;
    }
    this.#head = Buffer.concat([this.#head, bytes]);
    if (this.#head.length >= HEAD_BYTES) this.#begin();
  }

  damaged(): void {
    this.#troubles.add(`${this.#compressed ?? 'compressed'} data is damaged or cut`);
  }

  async finish(): Promise<ImportSummary> {
    const { signal, input } = this.#run;
    if (!this.#parser) this.#begin();
    // What an interrupt cut off is not the end of the log: what is wrong with the last line is not the log's.
    const cutHere = signal.aborted ? this.#troubles.kinds() : undefined;
    this.#parser?.end();
    const format = this.#format?.name ?? '';
    const troubles = cutHere ?? this.#troubles.kinds();
    const imported = this.#sink.rows;
    if (imported === 0) {
      if (signal.aborted) throw new CvmtraceError('INTERRUPTED', 'interrupted before a row was read');
      throw new CvmtraceError('BAD_INPUT', `nothing in ${inputName(input)} was understood as ${format}`, {
        hint: nothingHint(troubles),
      });
    }
    if (this.#run.align && this.#sink.baseNs === null) {
      throw new CvmtraceError('USAGE', `${inputName(input)} has no times, so that it cannot be aligned`, {
        hint: 'record it with times (QEMU: -msg timestamp=on; strace: -ttt), or import it without --align',
      });
    }
    for (const trouble of troubles) this.#addTroubleRow(trouble);
    this.#sink.finish();
    const writer = this.#writer;
    if (!writer) throw new Error('rows without a writer');
    const end = this.#sink.end ?? { exitStatus: null, lostEvents: this.#lost };
    const written = await writer.finish(end);
    return {
      ...written,
      format,
      compressed: this.#compressed,
      clock: this.#clock(),
      imported,
      lostEvents: end.lostEvents,
      troubles,
      interrupted: signal.aborted,
    };
  }

  /** Removes an unfinished trace. */
  discard(): void {
    this.#writer?.discard();
  }

  #begin(): void {
    const head = this.#head;
    this.#format ??= formatByContent(head, inputName(this.#run.input));
    const context = { sink: this.#sink, troubles: this.#troubles, options: this.#run.options };
    const format = this.#format;
    this.#parser =
      format.kind === 'lines' ? new LineSplitter(format.open(context), this.#troubles) : format.open(context);
    this.#head = Buffer.alloc(0);
    this.#parser.chunk(head);
  }

  /** What is known of the clock when the first batch is full goes into the metadata, which stands before the rows. */
  #write(batch: TraceBatch): void {
    this.#writer ??= TraceWriter.create(this.#run.out, this.#metadata(), { force: this.#run.force });
    this.#writer.append(batch);
    if (!batch.op.subarray(0, batch.rows).includes(LOST)) return;
    for (let row = 0; row < batch.rows; row++) {
      if (batch.op[row] === LOST) this.#lost += Number(batch.columns.len?.[row] ?? 0n);
    }
  }

  get #clockName(): string {
    const { sourceClock } = this.#run.options;
    return sourceClock === undefined ? this.#sink.clock : clockName(sourceClock);
  }

  #clock(): ClockInfo {
    const { align } = this.#run;
    const { baseNs } = this.#sink;
    return align && baseNs !== null ? align.clock : clockInfo(this.#clockName, baseNs);
  }

  #metadata(): TraceMetadata {
    const { input, command, clockOffsetNs, align } = this.#run;
    const origin: NonNullable<KnownMetadata['import']> = {
      format: this.#format?.name ?? '',
      file: inputName(input),
      compressed: this.#compressed,
      clock: this.#clockName,
      clockOffsetNs: String(clockOffsetNs ?? 0n),
      alignedTo: align ? basename(align.path) : null,
    };
    return {
      format: FORMAT_VERSION,
      tool: { name: 'cvmtrace', version: PACKAGE_VERSION },
      source: 'import',
      command,
      clock: this.#clock(),
      host: null,
      guest: { memoryBytes: null, vcpus: null, vmType: null, requests: null, slots: [] },
      import: origin,
      leftOut: [],
    };
  }

  #addTroubleRow({ kind, skipped, count, lines }: TroubleKind): void {
    const sink = this.#sink;
    sink.row(TROUBLE);
    sink.len(count, Math.floor(count / 2 ** 32));
    sink.flags(skipped ? 1 : 0, 0);
    sink.detail(troubleText(kind, lines));
  }
}

/** "cut line: lines 3, 17, 90" */
export function troubleText(kind: string, lines: readonly number[]): string {
  return `${kind}: line${lines.length === 1 ? '' : 's'} ${lines.join(', ')}`;
}

function formatNamed(name: string): ImportFormat {
  const format = FORMATS.find((candidate) => candidate.name === name);
  if (format) return format;
  throw unknownName(
    'format',
    name,
    FORMATS.map((candidate) => candidate.name),
  );
}

function formatByContent(head: Buffer, name: string): ImportFormat {
  if (head.length === 0) throw new CvmtraceError('BAD_INPUT', `${name} is empty`, { hint: 'check the name' });
  const magic = head.toString('latin1', 0, 6);
  if (magic === 'ARROW1' || magic.startsWith('PAR1')) {
    throw new CvmtraceError('BAD_INPUT', `${name} is ${magic === 'ARROW1' ? 'an Arrow' : 'a Parquet'} file, no log`, {
      hint: 'if it is a trace, every verb reads it as it is: cvmtrace info FILE',
    });
  }
  const { format, confidence } = detectFormat(head);
  if (format && confidence >= SURE) return format;
  const guess = format ? `; the nearest is ${format.name}, if you know that it is: --format ${format.name}` : '';
  throw new CvmtraceError('BAD_INPUT', `${name} does not begin as any log that can be imported`, {
    hint: `looked for ${FORMATS.map((known) => known.name).join(', ')}${guess}`,
  });
}

function nothingHint(troubles: readonly TroubleKind[]): string {
  if (troubles.length === 0) return 'it has no line or record; check the name, or choose another --format';
  const kinds = troubles.slice(0, 3).map(({ kind, count, lines }) => `${count} x ${troubleText(kind, lines)}`);
  return `${kinds.join('; ')}. Check the name, or choose another --format`;
}
