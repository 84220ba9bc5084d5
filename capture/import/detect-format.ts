import type { ImportFormat } from './format.ts';
import { FORMATS } from './formats.ts';

/** Bytes of an input that its format is told by. */
export const HEAD_BYTES = 4096;

/** From this on a format is taken without asking. */
export const SURE = 50;

export interface Detection {
  /** The surest; undefined if no format sees anything of itself. */
  readonly format: ImportFormat | undefined;
  /** From 0 to 100. */
  readonly confidence: number;
}

/** Which format's file begins so. */
export function detectFormat(head: Uint8Array, formats: readonly ImportFormat[] = FORMATS): Detection {
  const start = head.subarray(0, HEAD_BYTES);
  let best: Detection = { format: undefined, confidence: 0 };
  for (const format of formats) {
    const confidence = format.detect(start);
    if (confidence > best.confidence) best = { format, confidence };
  }
  return best;
}
