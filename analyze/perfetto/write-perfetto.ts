/**
 * A trace as TrackEvents of Perfetto (https://perfetto.dev), for its UI: what each vCPU waited for, call by call, the VMM's other calls, how memory
 * went, and the phases.
 */
import type { TraceMetadata } from '../../capture/trace/metadata.ts';
import type { Analysis } from '../db/analysis.ts';
import { qualifiers } from '../report/report.ts';
import { writeEvents } from './events.ts';
import { writeMemory } from './memory.ts';
import { PacketWriter } from './packets.ts';
import { writePhases } from './phases.ts';
import { SEQUENCE } from './sequence.ts';
import { TraceTracks } from './tracks.ts';

export interface PerfettoOptions {
  /** Called now and then with the number of rows that are done. */
  readonly onProgress?: (rows: number) => void;
}

/** What of a trace is in its Perfetto trace. */
export interface PerfettoSummary {
  /** Rows with a duration. */
  readonly slices: number;
  /** Rows without one: tracepoints, losses, sums of many exits, calls whose end is unknown. */
  readonly instants: number;
  readonly phases: number;
  /** Values of the memory's counters. */
  readonly counterValues: number;
  /** Rows that could not be shown, because when they happened is unknown. */
  readonly rowsWithoutTime: number;
}

/** Pieces are about this large. */
const PIECE_BYTES = 256 * 1024;

/**
 * Writes the rows of an analysis of one trace as a Perfetto trace, piece by piece, in bounded memory.
 * @throws what `write` throws, and CvmtraceError as `Analysis.stream`.
 */
export async function writePerfetto(
  analysis: Analysis,
  metadata: TraceMetadata,
  write: (bytes: Uint8Array) => Promise<void>,
  options: PerfettoOptions = {},
): Promise<PerfettoSummary> {
  const packets = new PacketWriter(metadata.clock);
  const tracks = new TraceTracks((track) => packets.track(SEQUENCE.tracks, track), qualifiers(metadata));
  const flush = async (): Promise<void> => {
    if (packets.pendingBytes >= PIECE_BYTES) await write(packets.take());
  };
  packets.clockSnapshot(SEQUENCE.tracks);
  const [counted = []] = (await analysis.query('select count(*)::double from events where _known_ns(ts_ns) is null'))
    .rows;
  const phases = await writePhases(analysis, packets, tracks, flush);
  const counterValues = await writeMemory(analysis, packets, tracks, flush);
  const { slices, instants } = await writeEvents(analysis, packets, tracks, flush, options.onProgress);
  await write(packets.take());
  return { slices, instants, phases, counterValues, rowsWithoutTime: Number(counted[0]) };
}
