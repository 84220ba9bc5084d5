import { isValid } from '../../capture/trace/index.ts';
import type { Analysis } from '../db/analysis.ts';
import { EventType, Unit, type PacketWriter } from './packets.ts';
import { SEQUENCE } from './sequence.ts';
import type { TraceTracks } from './tracks.ts';

/** Columns of memory_over_time and the counters that they become. */
const COUNTERS = [
  { column: 'private_bytes', name: 'private', unit: Unit.bytes },
  { column: 'shared_bytes', name: 'shared', unit: Unit.bytes },
  { column: 'doubly_held_bytes', name: 'doubly held', unit: Unit.bytes },
  { column: 'dma_mapped_bytes', name: 'DMA-mapped', unit: Unit.bytes },
  { column: 'live_mappings', name: 'live mappings', unit: Unit.count },
] as const;

const MEMORY = `
select ts_ns::double, ${COUNTERS.map(({ column }) => `${column}::double`).join(', ')}
from memory_over_time
where ts_ns is not null
order by ts_ns, seq`;

/** Writes each change of the memory's counters, of those that are not 0 all the time; returns how many values these are. */
export async function writeMemory(
  analysis: Analysis,
  packets: PacketWriter,
  tracks: TraceTracks,
  flush: () => Promise<void>,
): Promise<number> {
  const last: number[] = COUNTERS.map(() => 0);
  const uuids: (number | undefined)[] = [];
  let parentUuid: number | undefined;
  let values = 0;
  const stream = await analysis.stream(MEMORY);
  try {
    for (let chunk = await stream.nextChunk(); chunk !== null; chunk = await stream.nextChunk()) {
      const [times, ...columns] = chunk.columns;
      for (let row = 0; row < chunk.rows; row++) {
        for (const [i, { name, unit }] of COUNTERS.entries()) {
          const column = columns[i];
          const value = Number(column?.values[row]);
          if (value === last[i] || !isValid(column?.validity ?? undefined, row)) continue;
          if (parentUuid === undefined) {
            packets.startSequence(SEQUENCE.memory, [], []);
            parentUuid = tracks.add({ name: 'guest memory', ranksChildren: true });
          }
          const uuid = (uuids[i] ??= tracks.add({ parentUuid, name, rank: i, counter: { unit } }));
          const event = packets.beginEvent(SEQUENCE.memory, EventType.counter, uuid, Number(times?.values[row]));
          packets.counterValue(value);
          packets.endEvent(event);
          last[i] = value;
          values++;
        }
      }
      await flush();
    }
  } finally {
    await stream.close();
  }
  return values;
}
