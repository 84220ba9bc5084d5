/**
 * Text with its control characters made visible. Traces are untrusted, and a mark's name or an error that quotes it must not move the cursor,
 * recolour or retitle the reader's terminal.
 */
export function printable(text: string): string {
  // C0 controls, DEL, C1 controls, and the bidirectional overrides that can make a line read as something else.
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`;
  });
}

/** As {@link printable}, on one line: line breaks with the blanks around them become one space. */
export function oneLine(text: string): string {
  return printable(text.trim().replace(/\s*[\r\n]+\s*/g, ' '));
}
