/** What a walk over a trace says in the report: memory over time, flips, and hazards. */
import type { CvmtraceError } from '../../native/index.ts';
import type { Analysis } from '../db/analysis.ts';
import type { Walked } from '../state/keep-state.ts';
import {
  HAZARD_KINDS,
  type Hazard,
  type HazardKind,
  type MemoryState,
  type Severity,
  type StateSink,
} from '../state/sink.ts';
import type { HazardLimits } from '../state/facts.ts';
import { Flips, type FlipRange } from './flips.ts';
import { MemorySeries, NO_MEMORY, raise, type MemoryPoint, type MemoryTotals } from './memory-series.ts';

/** Fits a terminal of 120 columns. */
const POINTS = 120;
const TOP_RANGES = 10;
const FIRST_FINDINGS = 3;

export interface MemoryReport {
  /** Why what was held is not known, and `points` are empty; null if it is. */
  readonly heldLeftOut: string | null;
  /** What the points' `at` counts: ns since the clock base, or seq where the trace does not have a time in every row. */
  readonly axis: 'time' | 'seq';
  /** At most 120; each holds the highest values of its interval. Bytes. */
  readonly points: readonly MemoryPoint[];
  /** Highest value of each in the whole trace. Bytes. */
  readonly peak: Readonly<MemoryTotals>;
  /** Bytes of converted memory by how often they changed sides. */
  readonly flipHistogram: readonly { readonly flips: number; readonly bytes: number }[];
  /** The ten ranges that changed sides most often. */
  readonly mostFlipped: readonly FlipRange[];
}

/** A hazard as the report has it: addresses are 64 bits wide. */
export interface ReportedHazard extends Omit<Hazard, 'gpa' | 'iova'> {
  readonly gpa: bigint | null;
  readonly iova: bigint | null;
}

/** Findings of one kind and severity; those of `error` come first. */
export interface HazardReport {
  readonly kind: HazardKind;
  readonly severity: Severity;
  readonly findings: number;
  /** The first three. */
  readonly first: readonly ReportedHazard[];
}

export interface StateReport {
  readonly memory: MemoryReport;
  readonly hazards: readonly HazardReport[];
}

/** Null with the reason if more is live at a time than can be followed. Other errors as `Analysis.query`. */
export async function stateReport(
  analysis: Analysis,
  trace: number,
  limits: HazardLimits,
): Promise<StateReport | { readonly leftOut: string }> {
  const { rows } = await analysis.query(
    `select count(*) = count(_known_ns(ts_ns)), any_value(e.start_ns)::double, any_value(e.end_ns)::double, max(seq)::double
     from events join _trace_ends e using (trace) where trace = ${trace}`,
  );
  const [timed, from, to, lastSeq] = rows[0] ?? [];
  const axis = timed === true && typeof from === 'number' && typeof to === 'number' ? { from, to } : undefined;
  let walked: Walked<ReportSink>;
  try {
    walked = await analysis.walk(
      trace,
      () => {
        const series = axis
          ? new MemorySeries(axis.from, axis.to, POINTS)
          : new MemorySeries(0, Number(lastSeq ?? 0), POINTS);
        return new ReportSink(series, axis !== undefined);
      },
      limits,
    );
  } catch (cause) {
    const { code, message } = cause as CvmtraceError;
    if (code !== 'UNAVAILABLE') throw cause;
    return { leftOut: message };
  }
  const { sink } = walked;
  const { unplaced } = walked.walk;
  const calls = unplaced === 1 ? '1 call' : `${unplaced} calls`;
  const heldLeftOut = unplaced > 0 ? `${calls} on memory by a place in a file or in the VMM that no slot has` : null;
  return {
    memory: {
      heldLeftOut,
      axis: axis ? 'time' : 'seq',
      points: heldLeftOut === null ? sink.series.points() : [],
      peak: sink.peak,
      flipHistogram: sink.flips.histogram(),
      mostFlipped: sink.flips.most(TOP_RANGES),
    },
    hazards: sink.hazards(),
  };
}

const SEVERITIES: readonly Severity[] = ['error', 'warning', 'note'];

class ReportSink implements StateSink {
  readonly peak: MemoryTotals = { ...NO_MEMORY };
  readonly flips = new Flips();
  readonly series: MemorySeries;
  readonly #byTime: boolean;
  readonly #hazards = new Map<string, { findings: number; readonly first: Hazard[] }>();

  constructor(series: MemorySeries, byTime: boolean) {
    this.series = series;
    this.#byTime = byTime;
  }

  memory(seq: number, ns: number, state: MemoryState): void {
    const totals = {
      privateBytes: state.private,
      sharedBytes: state.shared,
      privateHeldBytes: state.privateHeld,
      sharedHeldBytes: state.sharedHeld,
      doublyHeldBytes: state.doublyHeld,
      dmaMappedBytes: state.mapped,
      pinnedBytes: state.pinned,
      liveMappings: state.mappings,
    };
    this.series.add(this.#byTime ? ns : seq, totals);
    raise(this.peak, totals);
  }

  side(vm: number, gpa: number, past: number): void {
    this.flips.stayed(vm, gpa, past);
  }

  hazard(hazard: Hazard): void {
    const key = `${hazard.severity} ${hazard.kind}`;
    const found = this.#hazards.get(key);
    if (!found) this.#hazards.set(key, { findings: 1, first: [hazard] });
    else {
      found.findings++;
      if (found.first.length < FIRST_FINDINGS) found.first.push(hazard);
    }
  }

  /** By severity, then in the order of the kinds. */
  hazards(): HazardReport[] {
    return SEVERITIES.flatMap((severity) =>
      HAZARD_KINDS.flatMap((kind) => {
        const found = this.#hazards.get(`${severity} ${kind}`);
        return found ? { kind, severity, findings: found.findings, first: found.first.map(reported) } : [];
      }),
    );
  }

  slot(): void {}
  place(): void {}
  hold(): void {}
  mapping(): void {}
  request(): void {}
  vaddrWindow(): void {}
}

function reported(hazard: Hazard): ReportedHazard {
  return { ...hazard, gpa: wide(hazard.gpa), iova: wide(hazard.iova) };
}

function wide(address: number | undefined): bigint | null {
  return address === undefined || address < 0 ? null : BigInt(address);
}
