/** Executes requests and records them in a trace: what `run` and `replay` have in common. */
import { CvmtraceError, type ExecuteOptions, PACKAGE_VERSION } from '../native/index.ts';
import { executeGuest } from './execute-guest.ts';
import { executeRequests, type ExecutionOptions, type ExecutionSummary } from './execute-requests.ts';
import { FORMAT_VERSION, type KnownMetadata, type TraceMetadata } from './trace/metadata.ts';
import { TraceWriter } from './trace/writer.ts';

/** Metadata that the caller knows; the clock, the format and what the backend is are filled in here. */
export type RunMetadata = Omit<KnownMetadata, 'format' | 'tool' | 'clock' | 'backend' | 'dma' | 'leftOut' | 'pacing'>;

export interface RecordingOptions extends Omit<ExecutionOptions, 'onRows' | 'onStart'> {
  /** The trace's final name. */
  readonly out: string;
  readonly force: boolean;
  readonly metadata: RunMetadata;
  /** Sees the rows of each batch after they were written. */
  readonly onRows?: ExecutionOptions['onRows'];
}

/** Exit status in the last row of a trace that the user interrupted: 128 + SIGINT. */
const INTERRUPTED = 130;

/**
 * Writes one trace. An interrupt ends it cleanly: what has run is a whole trace. If it cannot be written, NAME.partial stays for `recover`.
 * @throws CvmtraceError IO if the trace exists or cannot be written; what `executeRequests` throws.
 */
export async function recordRequests(options: RecordingOptions): Promise<ExecutionSummary> {
  const { out, force, backend, pacing } = options;
  let writer: TraceWriter | undefined;
  let startNs = 0n;
  try {
    const summary = await (backend.guest ? executeGuest : executeRequests)({
      ...options,
      onStart: (clockBaseNs) => {
        startNs = clockBaseNs;
        const metadata = completeMetadata(options, clockBaseNs);
        writer = TraceWriter.create(out, metadata, { force, paced: isPaced(pacing) });
      },
      onRows: (rows, details) => {
        writer?.append({ ...rows, detail: details, pid: process.pid, tid: rows.tid });
        options.onRows?.(rows, details);
      },
    });
    await writer?.finish({
      exitStatus: summary.interrupted ? INTERRUPTED : 0,
      lostEvents: 0,
      // The same clock: process.hrtime reads CLOCK_MONOTONIC too.
      tsNs: process.hrtime.bigint() - startNs,
    });
    return summary;
  } catch (error) {
    const code = error instanceof CvmtraceError ? error.code : undefined;
    if (code === 'IO') writer?.abort();
    // What a guest did before it broke down may say why it did.
    else if (code === 'CRASHED') keepPartial(writer);
    else writer?.discard();
    throw error;
  }

  function completeMetadata(of: RecordingOptions, clockBaseNs: bigint): TraceMetadata {
    const { mode, factor } = describePacing(of.pacing);
    return {
      ...of.metadata,
      format: FORMAT_VERSION,
      tool: { name: 'cvmtrace', version: PACKAGE_VERSION },
      clock: { name: 'CLOCK_MONOTONIC', baseNs: String(clockBaseNs), wallOffsetNs: String(wallOffsetNs()) },
      backend: { name: backend.name, standIn: backend.standIn },
      pacing: { mode, factor },
      leftOut: backend.leftOut,
      ...(backend.dma && {
        dma: { interface: backend.dma.interface, device: backend.dma.device, addressing: backend.dma.addressing },
      }),
    };
  }
}

function keepPartial(writer: TraceWriter | undefined): void {
  try {
    writer?.flush();
  } catch {
    // The file cannot be written either: what made it stop says more.
  }
  writer?.abort();
}

function isPaced(pacing: ExecuteOptions): boolean {
  return describePacing(pacing).mode !== 'asap';
}

function describePacing({ pace = 'asap', paceFactor = 1 }: ExecuteOptions): NonNullable<TraceMetadata['pacing']> {
  return { mode: pace, factor: paceFactor };
}

/** ns to add to CLOCK_MONOTONIC (which process.hrtime reads) to get ns since 1970. */
export function wallOffsetNs(): bigint {
  return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n - process.hrtime.bigint();
}
