import type { Analysis } from '../db/analysis.ts';
import { chunkRows, textOf } from '../db/chunk.ts';
import { OpenSlices, SliceTrack } from './open-slices.ts';
import { EventType, type PacketWriter } from './packets.ts';
import { SEQUENCE } from './sequence.ts';
import type { TraceTracks } from './tracks.ts';

const PHASES = `
select start_ns::double, end_ns::double, coalesce(name, 'phase ' || phase)
from phases
where start_ns is not null
order by start_ns, end_ns desc nulls last, phase`;

/** Writes the phases as slices of a track, one without an end as an instant; returns how many. */
export async function writePhases(
  analysis: Analysis,
  packets: PacketWriter,
  tracks: TraceTracks,
  flush: () => Promise<void>,
): Promise<number> {
  const write = (type: number, uuid: number, tsNs: number, name?: string): void => {
    const event = packets.beginEvent(SEQUENCE.phases, type, uuid, tsNs);
    if (name !== undefined) packets.name(name);
    packets.endEvent(event);
  };
  const track = new SliceTrack(() => tracks.add({ name: 'phases' }));
  const open = new OpenSlices((uuid, endNs) => write(EventType.sliceEnd, uuid, endNs));
  const stream = await analysis.stream(PHASES);
  let phases = 0;
  try {
    for (let chunk = await stream.next(); chunk !== null; chunk = await stream.next()) {
      for (const [start, end, name] of chunkRows(chunk)) {
        if (phases++ === 0) packets.startSequence(SEQUENCE.phases, [], []);
        const startNs = Number(start);
        open.advance(startNs);
        const slice = typeof end === 'number' ? open.open(track, startNs, Math.max(end, startNs)) : undefined;
        write(slice ? EventType.sliceBegin : EventType.instant, slice?.lane.uuid ?? track.uuid, startNs, textOf(name));
      }
      await flush();
    }
  } finally {
    await stream.close();
  }
  open.closeAll();
  return phases;
}
