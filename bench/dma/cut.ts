/** A range of guest memory, bytes. */
export interface Section {
  readonly gpa: number;
  readonly len: number;
}

/** A section cut at the multiples of `granularity` bytes, in order. Infinity: in one. */
export function* cut({ gpa, len }: Section, granularity: number): Generator<Section> {
  const end = gpa + len;
  for (let at = gpa; at < end;) {
    const next = granularity === Infinity ? end : Math.min(end, (Math.floor(at / granularity) + 1) * granularity);
    yield { gpa: at, len: next - at };
    at = next;
  }
}
