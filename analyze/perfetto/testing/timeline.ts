/** What a reader of Perfetto's format makes of packets: events sorted by time, and slices nested by the stack of their track. */
import type { Packet } from './decode.ts';

export interface ShownEvent {
  /** Names from the outermost track inwards: "guest 10 > vCPU 0". */
  readonly track: string;
  readonly uuid: string;
  readonly name: string;
  readonly ts: bigint;
  /** Of a slice; null for an instant. */
  readonly dur: bigint | null;
  readonly depth: number;
  readonly args: Readonly<Record<string, string>>;
  /** The slice around it. */
  readonly parent: ShownEvent | undefined;
}

export interface Timeline {
  readonly events: readonly ShownEvent[];
  readonly counters: ReadonlyMap<string, readonly (readonly [ts: bigint, value: bigint])[]>;
}

type Open = { -readonly [K in keyof ShownEvent]: ShownEvent[K] };

/** @throws Error if a sequence goes back in time, an end has no slice, a slice has no end, or an event has no track or name. */
export function timelineOf(packets: readonly Packet[]): Timeline {
  const tracks = new Map<string, string>();
  const names = new Map<string, string>();
  const latest = new Map<number, bigint>();
  const timed: { readonly ts: bigint; readonly packet: Packet }[] = [];
  for (const packet of packets) {
    const { trustedPacketSequenceId: sequence, trackDescriptor, internedData, timestamp } = packet;
    if (trackDescriptor) tracks.set(trackDescriptor.uuid, trackName(trackDescriptor, tracks));
    for (const { iid, name } of internedData?.eventNames ?? []) names.set(`${sequence} event ${iid}`, name);
    for (const { iid, name } of internedData?.debugAnnotationNames ?? []) names.set(`${sequence} arg ${iid}`, name);
    if (timestamp === undefined) continue;
    const ts = BigInt(timestamp);
    if (ts < (latest.get(sequence) ?? 0n)) throw new Error(`sequence ${sequence} goes back to ${timestamp}`);
    latest.set(sequence, ts);
    timed.push({ ts, packet });
  }
  timed.sort((a, b) => (a.ts < b.ts ? -1 : a.ts > b.ts ? 1 : 0));
  const events: Open[] = [];
  const stacks = new Map<string, Open[]>();
  const counters = new Map<string, (readonly [bigint, bigint])[]>();
  for (const { ts, packet } of timed) {
    const event = packet.trackEvent;
    if (!event) throw new Error('a packet with a time and without an event');
    const uuid = event.trackUuid;
    const track = found(tracks, uuid);
    const stack = stacks.get(uuid) ?? [];
    stacks.set(uuid, stack);
    const sequence = packet.trustedPacketSequenceId;
    if (event.type === 'TYPE_COUNTER') {
      counters.set(track, [...(counters.get(track) ?? []), [ts, BigInt(event.counterValue ?? 0)]]);
    } else if (event.type === 'TYPE_SLICE_END') {
      const slice = stack.pop();
      if (!slice) throw new Error(`an end on ${track} without a slice`);
      slice.dur = ts - slice.ts;
    } else {
      const shown: Open = {
        track,
        uuid,
        name: event.name ?? found(names, `${sequence} event ${event.nameIid}`),
        ts,
        dur: null,
        depth: stack.length,
        args: Object.fromEntries(
          (event.debugAnnotations ?? []).map(({ nameIid, ...value }) => [
            found(names, `${sequence} arg ${nameIid}`),
            Object.values(value).join(),
          ]),
        ),
        parent: stack.at(-1),
      };
      events.push(shown);
      if (event.type === 'TYPE_SLICE_BEGIN') stack.push(shown);
    }
  }
  for (const stack of stacks.values()) if (stack.length > 0) throw new Error(`${stack[0]?.name} has no end`);
  return { events, counters };
}

/** Events as lines, each with its track, times since `baseNs`, and indented as it is nested. */
export function linesOf({ events }: Timeline, baseNs = 0n): string[] {
  return events.map(({ track, name, ts, dur, depth }) => {
    const time = dur === null ? `at ${ts - baseNs}` : `${ts - baseNs}+${dur}`;
    return `${track}: ${'  '.repeat(depth)}${name} ${time}`;
  });
}

function trackName(descriptor: NonNullable<Packet['trackDescriptor']>, tracks: ReadonlyMap<string, string>): string {
  const { process, thread, name, parentUuid } = descriptor;
  const own = process
    ? `${process.processName} ${process.pid}`
    : thread
      ? `${thread.threadName} ${thread.pid}/${thread.tid}`
      : (name ?? '');
  return parentUuid === undefined ? own : `${found(tracks, parentUuid)} > ${own}`;
}

function found(map: ReadonlyMap<string, string>, key: string): string {
  const value = map.get(key);
  if (value === undefined) throw new Error(`nothing under ${key}`);
  return value;
}
