import { parseSize } from '../capture/size.ts';
import { CvmtraceError } from '../native/index.ts';

/**
 * Parser for commander of an option that takes a size in bytes.
 * @param flag as in the message: "--memory"
 */
export function sizeOption(flag: string): (text: string) => number {
  return (text) => {
    const bytes = parseSize(text);
    if (bytes !== undefined) return bytes;
    throw new CvmtraceError('USAGE', `${flag}: "${text}" is not a size`, {
      hint: 'write whole bytes, or K, M, G, T for powers of 1024: 4096, 4K, 2M, 1G',
    });
  };
}

/** Parser for commander of an option that takes a whole number of at least `least`. */
export function countOption(flag: string, least = 0): (text: string) => number {
  return (text) => {
    const count = /^\d+$/.test(text) ? Number(text) : NaN;
    if (Number.isSafeInteger(count) && count >= least) return count;
    throw new CvmtraceError('USAGE', `${flag}: "${text}" is not a whole number of at least ${least}`, {
      hint: `for example: ${flag} ${Math.max(least, 10)}`,
    });
  };
}
