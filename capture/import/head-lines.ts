/** The lines of an input's first bytes, for a format's `detect`: without CR, each byte as one character, without a last line that may be cut. */
export function headLines(head: Uint8Array): readonly string[] {
  const text = Buffer.from(head.buffer, head.byteOffset, head.length).toString('latin1');
  const lines = text.split(/\r?\n/);
  const last = lines.pop() ?? '';
  // A single line without a newline is better than nothing to look at.
  return lines.length > 0 ? lines : [last];
}
