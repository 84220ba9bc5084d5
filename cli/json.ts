/**
 * The one serialiser of the command line. A bigint becomes a string of decimal digits: values that can pass 2^53 are bigint everywhere in
 * the code, so a field is either always a JSON number or always a string, whatever its value.
 * Bytes become hex digits.
 */
export function toJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, replace, indent);
}

function replace(this: unknown, key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  // A Buffer has turned itself into an object by now; its holder still has it.
  const held = typeof this === 'object' && this !== null ? (Reflect.get(this, key) as unknown) : value;
  return held instanceof Uint8Array ? Buffer.from(held).toString('hex') : value;
}

/** Value of `schema` in a verb's document, e.g. "cvmtrace.bench-run/1". */
export function schemaName(verb: string): string {
  return `cvmtrace.${verb.replaceAll(' ', '-')}/1`;
}
