/**
 * capture/import: turns what other tools recorded into traces. One file or folder per foreign format, registered in `formats.ts`; each knows its format
 * by its first bytes and puts rows into a `RowSink`. What it cannot use it counts in `Troubles`, and goes on. All that a file says is untrusted.
 */
import type { RowSink } from './row-sink.ts';
import type { Troubles } from './troubles.ts';

/** What only the user can know about an input. */
export interface ImportOptions {
  /** Path of QEMU's `trace-events-all` of the build that wrote the input: names and arguments of a simpletrace file's events. */
  readonly eventsFile?: string;
  /** Name of the input's clock ("CLOCK_MONOTONIC", "boot" ...), for formats that do not say it themselves. */
  readonly sourceClock?: string;
}

export interface ImportContext {
  /** Takes the rows. */
  readonly sink: RowSink;
  /** Takes what was not understood. */
  readonly troubles: Troubles;
  readonly options: ImportOptions;
}

/** Reads a text format line by line. Never throws for what a line says. */
export interface LineParser {
  /** One line without its newline (and without a CR before it): bytes[start, end), valid during the call only. lineNumber counts from 1. */
  line(bytes: Uint8Array, start: number, end: number, lineNumber: number): void;
  /**
   * Called instead of `line` for a last line that no newline ends: it may be cut, and a number or word at its end may go on. Without this method
   * such a line is given to `line` only if no number or word is at its end, and is otherwise a trouble.
   */
  openLine?(bytes: Uint8Array, start: number, end: number, lineNumber: number): void;
  /** The input is over: calls still open are settled. */
  end(): void;
}

/** Reads a binary format, or a text format whose records are not lines. */
export interface ByteParser {
  /** The next bytes, any number of them, valid during the call only. */
  chunk(bytes: Uint8Array): void;
  end(): void;
}

interface FormatBase {
  /** As `--format` takes it and as the trace's metadata has it. */
  readonly name: string;
  /** One line for `import --help`: lower case, no full stop. */
  readonly summary: string;
  /** How one gets such a log, as a command line where there is one. */
  readonly madeBy: string;
  /** How sure, from 0 (not this) to 100, by the input's first bytes: at most 4 KiB, perhaps cut in a line. A file's name says nothing. */
  detect(head: Uint8Array): number;
}

export interface LineFormat extends FormatBase {
  readonly kind: 'lines';
  open(context: ImportContext): LineParser;
}

export interface ByteFormat extends FormatBase {
  readonly kind: 'bytes';
  open(context: ImportContext): ByteParser;
}

export type ImportFormat = LineFormat | ByteFormat;
