import { CvmtraceError, type ExecuteOptions } from '../native/index.ts';

/**
 * Reads `asap`, `recorded` or a factor of the recorded times (2 is half as fast).
 * @param kept how times are kept where they are: `relative` for think times, `absolute` for times of a trace
 */
export function parsePace(text: string, kept: 'absolute' | 'relative'): ExecuteOptions {
  if (text === 'asap') return { pace: 'asap' };
  const factor = text === 'recorded' ? 1 : Number(text);
  if (/^[\d.]+$|^recorded$/.test(text) && factor > 0 && Number.isFinite(factor))
    return { pace: kept, paceFactor: factor };
  throw new CvmtraceError('USAGE', `--pace cannot be '${text}'`, {
    hint: 'it takes asap, recorded, or a factor above 0 of the recorded times, such as 0.5',
  });
}
