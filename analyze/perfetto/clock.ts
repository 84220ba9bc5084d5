import type { ClockInfo } from '../../capture/trace/metadata.ts';

/** When events happened, as Perfetto is told. */
export interface PacketClock {
  /** The clock in Perfetto's BuiltinClock; undefined: none of them, times count from the trace's beginning. */
  readonly id: number | undefined;
  /** The clock's ns where the trace's ts_ns is 0. */
  readonly baseNs: bigint;
  /** CLOCK_REALTIME at that moment, ns since 1970, so that times of day can be shown; undefined if unknown or the clock itself. */
  readonly wallNs: bigint | undefined;
}

/** BuiltinClock of Perfetto's builtin_clock.proto. */
const BUILTIN_CLOCKS: Readonly<Record<string, number>> = {
  CLOCK_REALTIME: 1,
  CLOCK_REALTIME_COARSE: 2,
  CLOCK_MONOTONIC: 3,
  CLOCK_MONOTONIC_COARSE: 4,
  CLOCK_MONOTONIC_RAW: 5,
  CLOCK_BOOTTIME: 6,
};

const CLOCK_REALTIME_ID = 1;

/** Perfetto's times are int64; some 2^53 ns (104 days) are room for the trace itself. */
const MAX_BASE_NS = 2n ** 63n - 2n ** 54n;

/** The clock of a trace. Where it or its base is unknown, times are those of no clock. */
export function packetClock({ name, baseNs, wallOffsetNs }: ClockInfo): PacketClock {
  const id = BUILTIN_CLOCKS[name];
  const base = baseNs === null ? undefined : BigInt(baseNs);
  if (id === undefined || base === undefined || !isTime(base)) return { id: undefined, baseNs: 0n, wallNs: undefined };
  const wall = wallOffsetNs === null || id === CLOCK_REALTIME_ID ? undefined : base + BigInt(wallOffsetNs);
  return { id, baseNs: base, wallNs: wall !== undefined && isTime(wall) ? wall : undefined };
}

/** The clocks of a snapshot at ts_ns = 0, by id; empty if the trace has none. The first is the one that packets have. */
export function snapshotClocks({ id, baseNs, wallNs }: PacketClock): readonly (readonly [id: number, ns: bigint])[] {
  if (id === undefined) return [];
  return wallNs === undefined
    ? [[id, baseNs]]
    : [
        [id, baseNs],
        [CLOCK_REALTIME_ID, wallNs],
      ];
}

function isTime(ns: bigint): boolean {
  return ns >= 0n && ns <= MAX_BASE_NS;
}
