/** A 64-bit value as the two halves that a `RowSink` takes; for formats whose lines are few enough to be read as bigints. */
export const lowHalf = (value: bigint): number => Number(value & 0xffff_ffffn);
export const highHalf = (value: bigint): number => Number(BigInt.asUintN(32, value >> 32n));
