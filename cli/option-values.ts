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

const NS_OF_UNIT: Readonly<Record<string, bigint>> = { ns: 1n, us: 1_000n, ms: 1_000_000n, s: 1_000_000_000n };

/** Parser for commander of an option that takes a time, which may be negative, as whole ns. */
export function durationOption(flag: string): (text: string) => bigint {
  return (text) => {
    const [, sign, whole = '0', fraction = '', unit = 'ns'] =
      /^([+-]?)(\d+)(?:\.(\d+))?(ns|us|ms|s)?$/.exec(text) ?? [];
    const scaled = BigInt(whole + fraction) * (NS_OF_UNIT[unit] ?? 1n);
    const divisor = 10n ** BigInt(fraction.length);
    // A clock's ns have 64 bits.
    if (sign !== undefined && scaled % divisor === 0n && scaled / divisor < 2n ** 62n) {
      return sign === '-' ? -(scaled / divisor) : scaled / divisor;
    }
    throw new CvmtraceError('USAGE', `${flag}: "${text}" is not a time of whole nanoseconds`, {
      hint: `write it with its unit: ${flag} -1.5ms, 12s, 250us or 1000ns`,
    });
  };
}
