import { FileSource } from './file-source.ts';

/** What a file is by its first bytes. `arrow` may still be damaged, or no trace. */
export type TraceKind = 'arrow' | 'arrow-stream' | 'parquet' | 'empty' | 'other';

/**
 * Looks at the first bytes of a file.
 * @throws CvmtraceError NO_INPUT, IO or BAD_INPUT (a folder, a pipe) if they cannot be read.
 */
export function sniffTraceKind(path: string): TraceKind {
  const source = FileSource.open(path);
  try {
    return kindOf(source);
  } finally {
    source.close();
  }
}

export function kindOf(source: FileSource): TraceKind {
  if (source.sizeBytes === 0) return 'empty';
  const head = source.read(0, Math.min(8, source.sizeBytes));
  const text = head.toString('latin1');
  if (text.startsWith('ARROW1')) return 'arrow';
  if (text.startsWith('PAR1')) return 'parquet';
  // A stream has no magic: it begins with the continuation marker of the schema's message.
  if (head.length === 8 && head.readInt32LE(0) === -1 && head.readInt32LE(4) > 0) return 'arrow-stream';
  return 'other';
}
