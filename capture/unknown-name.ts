import { closest, distance } from 'fastest-levenshtein';
import { CvmtraceError } from '../native/error.ts';

/**
 * The error for a name that is not in a list: it lists the valid ones, and suggests the nearest where that is likely what was meant.
 * @param kind what is named, e.g. "workload" or "axis".
 */
export function unknownName(kind: string, given: string, valid: readonly string[]): CvmtraceError {
  const nearest = valid.length > 0 ? closest(given.toLowerCase(), valid) : undefined;
  // Farther than half its letters, a suggestion would be a guess.
  const meant = nearest !== undefined && distance(given.toLowerCase(), nearest) <= Math.max(2, nearest.length / 2);
  return new CvmtraceError('USAGE', `there is no ${kind} "${given}"`, {
    hint: `${meant ? `did you mean ${nearest}? ` : ''}valid: ${valid.join(', ')}`,
  });
}
