/** P(|Z| >= |z|) of a standard normal Z; relative error below 1e-12, 0 where it is below what a double can hold (|z| > 38). */
export function normalTwoSided(z: number): number {
  const x = Math.abs(z) / Math.SQRT2;
  // The series loses digits where erf is close to 1, the continued fraction converges slowly near 0.
  return x < 2 ? 1 - erfSeries(x) : erfcFraction(x);
}

/** erf by its Maclaurin series in the form without alternating signs (Abramowitz and Stegun 7.1.6). */
function erfSeries(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; term > sum * 1e-17; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** erfc by its continued fraction (Abramowitz and Stegun 7.1.14), from its tail on. */
function erfcFraction(x: number): number {
  let fraction = x;
  for (let n = 160; n > 0; n--) fraction = x + n / 2 / fraction;
  return Math.exp(-x * x) / (fraction * Math.sqrt(Math.PI));
}
