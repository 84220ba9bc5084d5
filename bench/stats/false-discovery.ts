/**
 * Adjusts p values for their number after Benjamini and Hochberg (1995): if all whose adjusted p is at most q are called, at most the share q of
 * the calls is expected to be false. Their procedure holds for independent tests and for those that depend positively, as operations of one run do.
 * Holm's, which bounds the chance of any false call, could call nothing of some hundred rows with the few runs that one has.
 * @param ps p values; null for what was not tested, which does not count
 */
export function adjustForMany(ps: readonly (number | null)[]): (number | null)[] {
  const tested = ps.flatMap((p, index) => (p === null ? [] : [{ p, index }])).sort((a, b) => b.p - a.p);
  const adjusted = ps.map((): number | null => null);
  let least = 1;
  for (const [behind, { p, index }] of tested.entries()) {
    least = Math.min(least, (p * tested.length) / (tested.length - behind));
    adjusted[index] = least;
  }
  return adjusted;
}
