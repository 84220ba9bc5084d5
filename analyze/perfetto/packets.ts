/**
 * The messages of Perfetto (protos/perfetto/trace of https://github.com/google/perfetto) that a trace of ours becomes: packets with a clock
 * snapshot, with descriptors of tracks, and with events on them. Field numbers are the schema's; the tests decode with the schema itself.
 */
import { packetClock, snapshotClocks, type PacketClock } from './clock.ts';
import type { ClockInfo } from '../../capture/trace/metadata.ts';
import { ProtoWriter } from './proto-writer.ts';

const TRACE = { packet: 1 } as const;

const PACKET = {
  clockSnapshot: 6,
  timestamp: 8,
  trustedPacketSequenceId: 10,
  trackEvent: 11,
  internedData: 12,
  sequenceFlags: 13,
  timestampClockId: 58,
  tracePacketDefaults: 59,
  trackDescriptor: 60,
} as const;

/** TracePacket.SequenceFlags: this packet starts anew; it needs what the first packet said (the defaults, the interned names). */
const CLEARED = 1;
const NEEDED = 2;

const SNAPSHOT = { clocks: 1, primaryTraceClock: 2 } as const;
const CLOCK = { clockId: 1, timestamp: 2 } as const;
const INTERNED = { eventNames: 2, debugAnnotationNames: 3 } as const;
const NAME = { iid: 1, name: 2 } as const;
const TRACK = {
  uuid: 1,
  name: 2,
  process: 3,
  thread: 4,
  parentUuid: 5,
  counter: 8,
  childOrdering: 11,
  siblingOrderRank: 12,
} as const;
const PROCESS = { pid: 1, processName: 6 } as const;
const THREAD = { pid: 1, tid: 2, threadName: 5 } as const;
const COUNTER = { unit: 3 } as const;
const EVENT = { debugAnnotations: 4, type: 9, nameIid: 10, trackUuid: 11, name: 23, counterValue: 30 } as const;
const ANNOTATION = { nameIid: 1, uintValue: 3, intValue: 4, stringValue: 6, pointerValue: 7 } as const;

/** TrackDescriptor.ChildTracksOrdering. */
const EXPLICIT_ORDER = 3;

/** CounterDescriptor.Unit. */
export const Unit = { count: 2, bytes: 3 } as const;

/** TrackEvent.Type. */
export const EventType = { sliceBegin: 1, sliceEnd: 2, instant: 3, counter: 4 } as const;

export interface TrackDescription {
  readonly uuid: number;
  readonly parentUuid?: number;
  readonly name?: string;
  readonly process?: { readonly pid: number; readonly name: string };
  readonly thread?: { readonly pid: number; readonly tid: number; readonly name: string };
  readonly counter?: { readonly unit: (typeof Unit)[keyof typeof Unit] };
  /** Children are shown by their `rank`. */
  readonly ranksChildren?: true;
  readonly rank?: number;
}

/** The packets of a trace. Each `sequence` is in the order of its times; between sequences Perfetto sorts. */
export class PacketWriter {
  readonly #proto = new ProtoWriter();
  readonly #clock: PacketClock;
  readonly #baseLow: number;
  readonly #baseHigh: number;

  constructor(clock: ClockInfo) {
    this.#clock = packetClock(clock);
    this.#baseLow = Number(this.#clock.baseNs & 0xffff_ffffn);
    this.#baseHigh = Number(this.#clock.baseNs >> 32n);
  }

  /** Bytes that wait for `take`. */
  get pendingBytes(): number {
    return this.#proto.length;
  }

  /** The packets since the last call. */
  take(): Uint8Array {
    return this.#proto.take();
  }

  /** Says which clock the trace has, and makes it the one that is shown. */
  clockSnapshot(sequence: number): void {
    const clocks = snapshotClocks(this.#clock);
    const [primary] = clocks;
    if (!primary) return;
    const packet = this.#begin(sequence, 0);
    const snapshot = this.#proto.begin(PACKET.clockSnapshot);
    for (const [id, ns] of clocks) {
      const clock = this.#proto.begin(SNAPSHOT.clocks);
      this.#proto.uint(CLOCK.clockId, id);
      this.#proto.halves(CLOCK.timestamp, Number(ns & 0xffff_ffffn), Number(ns >> 32n));
      this.#proto.end(clock);
    }
    this.#proto.uint(SNAPSHOT.primaryTraceClock, primary[0]);
    this.#proto.end(snapshot);
    this.#proto.end(packet);
  }

  /** The first packet of a sequence. Names of events and annotations are numbered from 1 in the order given. */
  startSequence(sequence: number, eventNames: readonly string[], annotationNames: readonly string[]): void {
    const packet = this.#begin(sequence, CLEARED | NEEDED);
    const { id } = this.#clock;
    if (id !== undefined) {
      const defaults = this.#proto.begin(PACKET.tracePacketDefaults);
      this.#proto.uint(PACKET.timestampClockId, id);
      this.#proto.end(defaults);
    }
    const interned = this.#proto.begin(PACKET.internedData);
    this.#names(INTERNED.eventNames, eventNames);
    this.#names(INTERNED.debugAnnotationNames, annotationNames);
    this.#proto.end(interned);
    this.#proto.end(packet);
  }

  track(sequence: number, track: TrackDescription): void {
    const proto = this.#proto;
    const packet = this.#begin(sequence, 0);
    const descriptor = proto.begin(PACKET.trackDescriptor);
    proto.uint(TRACK.uuid, track.uuid);
    if (track.parentUuid !== undefined) proto.uint(TRACK.parentUuid, track.parentUuid);
    if (track.name !== undefined) proto.string(TRACK.name, track.name);
    if (track.process) {
      const process = proto.begin(TRACK.process);
      proto.uint(PROCESS.pid, track.process.pid);
      proto.string(PROCESS.processName, track.process.name);
      proto.end(process);
    }
    if (track.thread) {
      const thread = proto.begin(TRACK.thread);
      proto.uint(THREAD.pid, track.thread.pid);
      proto.uint(THREAD.tid, track.thread.tid);
      proto.string(THREAD.threadName, track.thread.name);
      proto.end(thread);
    }
    if (track.counter) {
      const counter = proto.begin(TRACK.counter);
      proto.uint(COUNTER.unit, track.counter.unit);
      proto.end(counter);
    }
    if (track.ranksChildren) proto.uint(TRACK.childOrdering, EXPLICIT_ORDER);
    if (track.rank !== undefined) proto.uint(TRACK.siblingOrderRank, track.rank);
    proto.end(descriptor);
    proto.end(packet);
  }

  /** Begins an event at `tsNs` of the trace; between this and `endEvent` its name, value and annotations are written. */
  beginEvent(sequence: number, type: number, trackUuid: number, tsNs: number): EventPlace {
    const packet = this.#begin(sequence, NEEDED);
    this.#timestamp(tsNs);
    const event = this.#proto.begin(PACKET.trackEvent);
    this.#proto.uint(EVENT.type, type);
    this.#proto.uint(EVENT.trackUuid, trackUuid);
    return { packet, event };
  }

  endEvent({ packet, event }: EventPlace): void {
    this.#proto.end(event);
    this.#proto.end(packet);
  }

  /** Names the event by the number of one of the sequence's names. */
  internedName(iid: number): void {
    this.#proto.uint(EVENT.nameIid, iid);
  }

  name(text: string): void {
    this.#proto.string(EVENT.name, text);
  }

  counterValue(value: number): void {
    this.#proto.uint(EVENT.counterValue, value);
  }

  /** A number as an argument of the event: unsigned, shown in hexadecimal (`pointer`), or signed, by its halves. */
  numberAnnotation(nameIid: number, kind: 'uint' | 'pointer' | 'int', low: number, high: number): void {
    const annotation = this.#proto.begin(EVENT.debugAnnotations);
    this.#proto.uint(ANNOTATION.nameIid, nameIid);
    this.#proto.halves(ANNOTATION[`${kind}Value`], low, high);
    this.#proto.end(annotation);
  }

  stringAnnotation(nameIid: number, text: string): void {
    const annotation = this.#proto.begin(EVENT.debugAnnotations);
    this.#proto.uint(ANNOTATION.nameIid, nameIid);
    this.#proto.string(ANNOTATION.stringValue, text);
    this.#proto.end(annotation);
  }

  #begin(sequence: number, flags: number): number {
    const packet = this.#proto.begin(TRACE.packet);
    this.#proto.uint(PACKET.trustedPacketSequenceId, sequence);
    if (flags !== 0) this.#proto.uint(PACKET.sequenceFlags, flags);
    return packet;
  }

  /** The clock's time at `tsNs`, added in halves: as doubles, times since 1970 would lose their last digits. */
  #timestamp(tsNs: number): void {
    const low = this.#baseLow + (tsNs >>> 0);
    const carry = low >= 2 ** 32 ? 1 : 0;
    this.#proto.halves(PACKET.timestamp, low >>> 0, this.#baseHigh + Math.floor(tsNs / 2 ** 32) + carry);
  }

  #names(field: number, names: readonly string[]): void {
    names.forEach((name, i) => {
      const entry = this.#proto.begin(field);
      this.#proto.uint(NAME.iid, i + 1);
      this.#proto.string(NAME.name, name);
      this.#proto.end(entry);
    });
  }
}

/** Where a packet and the event in it began. */
export interface EventPlace {
  readonly packet: number;
  readonly event: number;
}
