/**
 * scenarios/: whole systems re-enacted on this kernel, each by one file. Unlike a workload, a scenario looks at what the kernel answers, goes on from
 * there, and holds the answers against what the interface promises. What a kernel lacks is said, and is no failure.
 */
import type { Parameter, ParameterValues } from '../../capture/workloads/parameter.ts';
import type { DmaInterface } from '../../capture/dma/target.ts';
import type { LeftOutStep } from '../../capture/trace/metadata.ts';
import type { Native } from '../../native/index.ts';
import type { Interval } from '../stats/interval.ts';

export interface ScenarioRun {
  readonly native: Native;
  /** The trace to write. */
  readonly out: string;
  readonly force: boolean;
  readonly command: readonly string[];
  readonly signal: AbortSignal;
  /** One of the scenario's `dma`; absent: the first of them. */
  readonly dma?: string;
  /** PCI address or IOMMU group of a device that vfio-pci has. Never guessed. */
  readonly device?: string;
  /** Values by name; what is absent has its default. */
  readonly parameters?: ParameterValues;
  /** Share done, 0 to 1, and what is under way. */
  readonly onProgress?: (share: number, what: string) => void;
}

/** Something that the interface promises, and what the kernel did. */
export interface Check {
  readonly what: string;
  readonly expected: string;
  readonly got: string;
  readonly ok: boolean;
}

/** `ns` are those of an emulator where the report is `emulated`; `ratio` has no unit. */
export type Unit = 'text' | 'count' | 'bytes' | 'ns' | 'ratio';

export interface ReportColumn {
  readonly title: string;
  readonly unit: Unit;
  /** Numbers of another machine. */
  readonly elsewhere?: boolean;
}

/** In base units; null: there is none. */
export type Cell = string | number | Interval | null;

export interface ReportTable {
  readonly title: string;
  readonly columns: readonly ReportColumn[];
  readonly rows: readonly (readonly Cell[])[];
  /** What one has to know to read it. */
  readonly notes: readonly string[];
}

export interface ScenarioReport {
  readonly scenario: string;
  /** In the order in which they were made. */
  readonly checks: readonly Check[];
  readonly tables: readonly ReportTable[];
  readonly leftOut: readonly LeftOutStep[];
  readonly emulated: boolean;
  readonly trace: string;
}

export interface Scenario {
  readonly name: string;
  readonly summary: string;
  /** Whom it re-enacts, and where that is public. */
  readonly source: string;
  /** One line. */
  readonly needs: string;
  /** What `dma` may be; empty if it has no DMA. */
  readonly dma: readonly DmaInterface[];
  readonly parameters: readonly Parameter[];
  /**
   * @throws CvmtraceError USAGE for options that it does not have, UNAVAILABLE with the reason if nothing of it works here, IO, INTERRUPTED. An
   * interrupt leaves a whole trace of what had run.
   */
  run(run: ScenarioRun): Promise<ScenarioReport>;
}

/** Whether all that was promised held. */
export function allHold({ checks }: ScenarioReport): boolean {
  return checks.every(({ ok }) => ok);
}
