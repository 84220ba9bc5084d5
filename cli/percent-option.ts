import { CvmtraceError } from '../native/index.ts';

/**
 * Parser for commander of an option that takes a share in per cent, as a fraction: 0.05 for "5%".
 * @param flag as in the message: "--effect"
 */
export function percentOption(flag: string): (text: string) => number {
  return (text) => {
    const [, percent] = /^(\d+(?:\.\d+)?)%$/.exec(text) ?? [];
    if (percent !== undefined) return Number(percent) / 100;
    throw new CvmtraceError('USAGE', `${flag}: "${text}" is not a percentage`, { hint: `for example: ${flag} 5%` });
  };
}
