import { statSync, utimesSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { bytesOnDisk } from '../../capture/cache-folder.ts';
import type { KeptTrace } from '../db/kept-trace.ts';
import type { Report } from '../report/report.ts';
import { readChecked, writeChecked } from './checked-file.ts';
import { sameMark, type FileMark } from './content.ts';
import { readPart } from './part.ts';
import { toolKey } from './tool-key.ts';

/** A path where a trace was seen, and the mark that its file had. */
export interface Place extends FileMark {
  readonly path: string;
}

/** What an entry is of, and by which program. */
export interface Description extends Pick<KeptTrace, 'kind' | 'metadata' | 'rows' | 'complete' | 'ops'> {
  /** Of the trace's bytes, hexadecimal. */
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly toolKey: string;
}

/** Copies of one trace that are remembered. */
const MAX_PLACES = 8;

/**
 * What is kept of one trace by one version of the program: a folder with the parts `rows` and `expensive`, the report, and the places where the trace
 * was seen, whose file has the time of the last use.
 */
export class CacheEntry {
  readonly folder: string;
  readonly description: Description;
  readonly #rowsFile: string;

  private constructor(folder: string, description: Description, rowsFile: string) {
    this.folder = folder;
    this.description = description;
    this.#rowsFile = rowsFile;
  }

  /** Undefined if there is none in this folder, or none that is whole. */
  static read(folder: string): CacheEntry | undefined {
    const part = readPart(join(folder, 'rows'));
    return part && new CacheEntry(folder, part.about as Description, part.file);
  }

  get kept(): KeptTrace {
    const { kind, metadata, rows, complete, ops } = this.description;
    const expensiveFile = readPart(this.expensiveFolder)?.file;
    return { kind, metadata, rows, complete, ops, rowsFile: this.#rowsFile, expensiveFile };
  }

  /** This program made it, and can read it. */
  get isCurrent(): boolean {
    return this.description.toolKey === toolKey();
  }

  get hasTables(): boolean {
    return readPart(this.expensiveFolder) !== undefined;
  }

  get hasReport(): boolean {
    return readChecked(this.#report) !== undefined;
  }

  get expensiveFolder(): string {
    return join(this.folder, 'expensive');
  }

  /** Where it was seen, last first. */
  get places(): readonly Place[] {
    return (readChecked(this.#places) as readonly Place[] | undefined) ?? [];
  }

  get usedMs(): number {
    return statSync(this.#places, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  }

  /** Room on disk. */
  get bytes(): number {
    return bytesOnDisk(this.folder);
  }

  isOf(mark: FileMark): boolean {
    return this.places.some((place) => sameMark(place, mark));
  }

  /** Notes that the trace was used, and where: a file that still has the mark is this content without a look at its bytes. */
  use(path: string, mark: FileMark): void {
    const place: Place = { path: resolve(path), ...mark };
    const [last, ...others] = this.places;
    if (last?.path === place.path && sameMark(last, mark)) {
      const now = new Date();
      utimesSync(this.#places, now, now);
      return;
    }
    const rest = [last, ...others].filter((other) => other !== undefined && other.path !== place.path);
    writeChecked(this.#places, [place, ...rest].slice(0, MAX_PLACES));
  }

  /** The report that was kept, with the path that the trace has now. */
  report(path: string): Report | undefined {
    const report = readChecked(this.#report) as Report | undefined;
    return report && { ...report, header: { ...report.header, path } };
  }

  keepReport(report: Report): void {
    writeChecked(this.#report, report);
  }

  get #places(): string {
    return join(this.folder, 'places');
  }

  get #report(): string {
    return join(this.folder, 'report');
  }
}
