/** The memory part of the report: one ordered pass over a trace's conversions and over what it allocated, touched and discarded. */
import type { Analysis } from '../db/analysis.ts';
import type { ResultStream } from '../db/result-stream.ts';
import { MemorySeries, raise, type MemoryPoint } from './memory-series.ts';
import { NO_MEMORY, PageModel, TooMuchMemoryError, type FlipRange, type MemoryTotals } from './page-model.ts';

/** Fits a terminal of 120 columns. */
const POINTS = 120;
const TOP_RANGES = 10;

export interface MemoryReport {
  /** Why what was held is not known, and `points` are empty and `peak` 0; null if it is. */
  readonly heldLeftOut: string | null;
  /** What the points' `at` counts: ns since the clock base, or seq where the trace does not have a time in every row. */
  readonly axis: 'time' | 'seq';
  /** At most 120; each holds the highest values of its interval. Bytes. */
  readonly points: readonly MemoryPoint[];
  /** Highest value of each in the whole trace. Bytes. */
  readonly peak: Readonly<MemoryTotals>;
  /** Bytes of converted memory by how often they changed sides; whole pages. */
  readonly flipHistogram: readonly { readonly flips: number; readonly bytes: number }[];
  /** The ten ranges that changed sides most often. */
  readonly mostFlipped: readonly FlipRange[];
}

/** Numbers of the columns of the two queries. */
const SEQ = 0;
const AT = 1;
const GPA = 2;
const PAST = 3;
const PRIVATE = 4;
const HELD = 5;

/** Guest-physical addresses have at most 52 bits; ranges beyond are damage, and doubles hold the others exactly. */
const CHANGES = `seq::double, coalesce(ts_ns, seq)::double, gpa::double, past::double, is_private`;
const IN_MEMORY = 'past <= 4503599627370496';

/** What a recording and logs have: calls whose place is one in a file or in the VMM. A sum without them would be wrong. */
async function unplacedCalls(analysis: Analysis, trace: number): Promise<string | null> {
  const { rows } = await analysis.query(
    `select count(*)::double from events
     where trace = ${trace} and errno = 0 and gpa is null and (
       op in ('gmem_allocate', 'gmem_punch_hole', 'ram_allocate', 'ram_punch_hole', 'vfio_map_dma', 'iommufd_ioas_map')
       or op = 'ram_madvise' and flags in (4, 9))`,
  );
  const count = Number(rows[0]?.[0] ?? 0);
  if (count === 0) return null;
  return `${count === 1 ? '1 call' : `${count} calls`} on memory by a place in a file or in the VMM, not in the guest`;
}

/** Undefined with the reason if the trace's ranges are more memory than is reasonable to follow. */
export async function memoryReport(
  analysis: Analysis,
  trace: number,
): Promise<MemoryReport | { readonly leftOut: string }> {
  const { rows } = await analysis.query(
    `select count(*) = count(_known_ns(ts_ns)), any_value(e.start_ns)::double, any_value(e.end_ns)::double, max(seq)::double
     from events join _trace_ends e using (trace) where trace = ${trace}`,
  );
  const [timed, from, to, lastSeq] = rows[0] ?? [];
  const axis = timed === true && typeof from === 'number' && typeof to === 'number' ? { from, to } : undefined;
  const heldLeftOut = await unplacedCalls(analysis, trace);
  const series = axis
    ? new MemorySeries(axis.from, axis.to, POINTS)
    : new MemorySeries(0, Number(lastSeq ?? 0), POINTS);
  const model = new PageModel();
  const peak: MemoryTotals = { ...NO_MEMORY };
  const sides = await ChangeCursor.open(
    analysis,
    `select ${CHANGES.replace('is_private', 'to_private')}, null::boolean from _side_changes
     where trace = ${trace} and ${IN_MEMORY} order by seq`,
  );
  const held = await ChangeCursor.open(
    analysis,
    `select ${CHANGES}, is_held from _held_changes where trace = ${trace} and ${IN_MEMORY} and ${heldLeftOut === null} order by seq`,
  );
  try {
    for (;;) {
      const next = sides.seq <= held.seq ? sides : held;
      if (next.seq === Infinity) break;
      if (next === sides) model.convert(next.gpa, next.past, next.isPrivate);
      else model.hold(next.gpa, next.past, next.isPrivate, next.isHeld);
      series.add(axis ? next.at : next.seq, model.totals);
      raise(peak, model.totals);
      if (!next.step()) await next.load();
    }
  } catch (error) {
    if (error instanceof TooMuchMemoryError) return { leftOut: error.message };
    throw error;
  } finally {
    await sides.close();
    await held.close();
  }
  return {
    heldLeftOut,
    axis: axis ? 'time' : 'seq',
    points: heldLeftOut === null ? series.points() : [],
    peak,
    flipHistogram: model.flipHistogram(),
    mostFlipped: model.mostFlipped(TOP_RANGES),
  };
}

/** Steps through the rows of one of the queries; `seq` is Infinity at the end. */
class ChangeCursor {
  seq = -1;
  at = 0;
  gpa = 0;
  past = 0;
  isPrivate = false;
  isHeld = false;
  readonly #stream: ResultStream;
  #columns: readonly ArrayLike<number>[] = [];
  #rows = 0;
  #row = 0;

  static async open(analysis: Analysis, sql: string): Promise<ChangeCursor> {
    const cursor = new ChangeCursor(await analysis.stream(sql));
    await cursor.load();
    return cursor;
  }

  private constructor(stream: ResultStream) {
    this.#stream = stream;
  }

  /** Goes to the next row of the chunk; false at its end, then `load`. */
  step(): boolean {
    if (++this.#row >= this.#rows) return false;
    this.#take();
    return true;
  }

  async load(): Promise<void> {
    const chunk = await this.#stream.nextChunk();
    if (chunk === null) {
      this.seq = Infinity;
      return;
    }
    this.#columns = chunk.columns.map(({ values }) => values as ArrayLike<number>);
    this.#rows = chunk.rows;
    this.#row = 0;
    this.#take();
  }

  close(): Promise<void> {
    return this.#stream.close();
  }

  #take(): void {
    const row = this.#row;
    const value = (column: number): number => this.#columns[column]?.[row] ?? 0;
    const seq = value(SEQ);
    if (seq <= this.seq) throw new Error(`rows of a trace out of order: seq ${seq} after ${this.seq}`);
    this.seq = seq;
    this.at = value(AT);
    this.gpa = value(GPA);
    this.past = value(PAST);
    this.isPrivate = value(PRIVATE) !== 0;
    this.isHeld = value(HELD) !== 0;
  }
}
