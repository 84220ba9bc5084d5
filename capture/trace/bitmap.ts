/** Arrow validity bitmaps: bit i % 8 of byte i / 8 is 1 if row i has a value. */

/** Bytes of a bitmap for so many rows. */
export function bitmapBytes(rows: number): number {
  return Math.ceil(rows / 8);
}

/** True if row `index` has a value; without a bitmap every row has one. */
export function isValid(bitmap: Uint8Array | undefined, index: number): boolean {
  return bitmap === undefined || (((bitmap[index >> 3] ?? 0) >> (index & 7)) & 1) === 1;
}

const ONES_OF_BYTE = Uint8Array.from({ length: 256 }, (_, byte) => {
  let ones = 0;
  for (let rest = byte; rest > 0; rest >>= 1) ones += rest & 1;
  return ones;
});

/** How many of the first `rows` bits are 1; bits after them do not count. */
export function countValid(bitmap: Uint8Array, rows: number): number {
  const whole = rows >> 3;
  let ones = 0;
  for (let i = 0; i < whole; i++) ones += ONES_OF_BYTE[bitmap[i] ?? 0] ?? 0;
  const rest = rows & 7;
  if (rest > 0) ones += ONES_OF_BYTE[(bitmap[whole] ?? 0) & ((1 << rest) - 1)] ?? 0;
  return ones;
}

/** Sets `count` bits from bit `start`. */
export function setBits(bitmap: Uint8Array, start: number, count: number): void {
  const end = start + count;
  let bit = start;
  for (; bit < end && (bit & 7) !== 0; bit++) setBit(bitmap, bit);
  if (bit < end) {
    const wholeEnd = end & ~7;
    bitmap.fill(0xff, bit >> 3, wholeEnd >> 3);
    for (bit = wholeEnd; bit < end; bit++) setBit(bitmap, bit);
  }
}

/** Sets one bit. */
export function setBit(bitmap: Uint8Array, bit: number): void {
  bitmap[bit >> 3] = (bitmap[bit >> 3] ?? 0) | (1 << (bit & 7));
}

/** Copies the first `count` bits of `source` to bit `start` on; the bits there must be 0 and there must be room. */
export function copyBits(bitmap: Uint8Array, start: number, source: Uint8Array, count: number): void {
  const shift = start & 7;
  let at = start >> 3;
  for (let done = 0; done < count; done += 8, at++) {
    let byte = source[done >> 3] ?? 0;
    // What lies after the last row in the source's last byte is not defined, and would be taken for rows to come.
    if (count - done < 8) byte &= (1 << (count - done)) - 1;
    bitmap[at] = (bitmap[at] ?? 0) | ((byte << shift) & 0xff);
    if (shift > 0 && byte >> (8 - shift) !== 0) bitmap[at + 1] = (bitmap[at + 1] ?? 0) | (byte >> (8 - shift));
  }
}
