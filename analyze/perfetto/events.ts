import { isValid } from '../../capture/trace/index.ts';
import type { Analysis } from '../db/analysis.ts';
import type { Chunk, ColumnChunk } from '../db/chunk.ts';
import { ARGUMENT_NAMES, argumentColumns, ChunkArguments } from './arguments.ts';
import { OpenSlices, type SliceTrack } from './open-slices.ts';
import { EventType, type PacketWriter } from './packets.ts';
import { SEQUENCE } from './sequence.ts';
import type { Thread, TraceTracks } from './tracks.ts';

/** What a row is for its track. */
const Role = { guest: 0, exit: 1, tracepoint: 2, lost: 3, call: 4 } as const;

/** Rows that stand for many exits about each half second; their time is a sum, and no time in which they happened. */
const SUMS = `op in ('kvm_run', 'exit_other')`;

/**
 * The rows in the order in which slices begin. Where clocks are coarse, many begin together: their order is seq, but for a guest's access, which is
 * around the exits that it caused and may have been written after them.
 */
const EVENTS = `
select
  _known_ns(ts_ns)::double as start,
  case when not (${SUMS}) then _past(_known_ns(ts_ns), _known_ns(dur_ns)) end::double as past,
  seq::double as place, pid, tid as thread, vcpu, op,
  (case
    when op = 'guest_touch' then ${Role.guest}
    when op in ('exit_map_gpa_range', 'exit_memory_fault') then ${Role.exit}
    when op in ('kvm_run', 'exit_other', 'kvm_exit', 'kvm_page_fault') then ${Role.tracepoint}
    when op = 'lost' then ${Role.lost}
    else ${Role.call}
  end)::utinyint as role,
  ${argumentColumns(SUMS)}
from events
where op <> 'mark' and start is not null
order by start, role <> ${Role.guest}, place`;

/** Columns before the arguments. */
const COLUMNS = ['start', 'past', 'seq', 'pid', 'tid', 'vcpu', 'op', 'role'] as const;

/** Writes the rows that are no marks: with a duration as slices, without one as instants. */
export async function writeEvents(
  analysis: Analysis,
  packets: PacketWriter,
  tracks: TraceTracks,
  flush: () => Promise<void>,
  onProgress?: (rows: number) => void,
): Promise<{ readonly slices: number; readonly instants: number }> {
  const stream = await analysis.stream(EVENTS);
  const writer = new EventWriter(packets, tracks);
  let rows = 0;
  try {
    const ops = stream.columns[COLUMNS.indexOf('op')]?.dictionary ?? [];
    for (let chunk = await stream.nextChunk(); chunk !== null; chunk = await stream.nextChunk()) {
      if (rows === 0) packets.startSequence(SEQUENCE.events, ops, ARGUMENT_NAMES);
      writer.write(chunk);
      rows += chunk.rows;
      await flush();
      onProgress?.(rows);
    }
  } finally {
    await stream.close();
  }
  return writer.finish();
}

class EventWriter {
  readonly #packets: PacketWriter;
  readonly #tracks: TraceTracks;
  readonly #open: OpenSlices;
  #slices = 0;
  #instants = 0;

  constructor(packets: PacketWriter, tracks: TraceTracks) {
    this.#packets = packets;
    this.#tracks = tracks;
    this.#open = new OpenSlices((uuid, endNs) => {
      packets.endEvent(packets.beginEvent(SEQUENCE.events, EventType.sliceEnd, uuid, endNs));
    });
  }

  write(chunk: Chunk): void {
    const [start, past, place, pids, tids, vcpus, op, roles] = chunk.columns;
    const rowArguments = new ChunkArguments(chunk, COLUMNS.length);
    for (let row = 0; row < chunk.rows; row++) {
      const startNs = Number(start?.values[row]);
      const endNs = numberAt(past, row);
      const seq = Number(place?.values[row]);
      const role = Number(roles?.values[row]);
      const pid = numberAt(pids, row);
      const vcpu = numberAt(vcpus, row);
      const thread = this.#tracks.thread(pid, numberAt(tids, row));
      const exit = role === Role.call ? exitOf(thread, seq, startNs, endNs) : undefined;
      const track = exit?.track ?? this.#trackOf(role, thread, pid, vcpu);
      this.#open.advance(startNs);
      const slice = endNs === undefined ? undefined : this.#open.open(track, startNs, endNs, exit?.slice);
      const uuid = (slice ?? exit?.slice)?.lane.uuid ?? track.uuid;
      const type = slice ? EventType.sliceBegin : EventType.instant;
      const event = this.#packets.beginEvent(SEQUENCE.events, type, uuid, startNs);
      this.#packets.internedName(Number(op?.values[row]) + 1);
      rowArguments.write(this.#packets, row);
      this.#packets.endEvent(event);
      if (slice) this.#slices++;
      else this.#instants++;
      if (role === Role.exit) thread.exit = slice && { slice, track, seq };
    }
  }

  finish(): { readonly slices: number; readonly instants: number } {
    this.#open.closeAll();
    return { slices: this.#slices, instants: this.#instants };
  }

  #trackOf(role: number, thread: Thread, pid: number | undefined, vcpu: number | undefined): SliceTrack {
    if (role === Role.lost) return this.#tracks.lost();
    return role < Role.lost && vcpu !== undefined ? this.#tracks.vcpu(pid, vcpu) : thread.track;
  }
}

/**
 * The exit that a call is made for, as in conversions.sql: the thread's last one, if the call comes after it in seq and starts within its time; an
 * exit of no length has the calls of no length that start with it.
 */
function exitOf(thread: Thread, seq: number, startNs: number, endNs: number | undefined): Thread['exit'] {
  const { exit } = thread;
  if (!exit || seq < exit.seq) return undefined;
  const { slice } = exit;
  if (startNs < slice.endNs) return exit;
  const isEmpty = slice.startNs === slice.endNs && startNs === slice.startNs && (endNs ?? startNs) === startNs;
  return isEmpty ? exit : undefined;
}

/** A number of the row; undefined for null. */
function numberAt(column: ColumnChunk | undefined, row: number): number | undefined {
  return column && isValid(column.validity ?? undefined, row) ? Number(column.values[row]) : undefined;
}
