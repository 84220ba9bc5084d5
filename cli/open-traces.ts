import type { Analysis, OpenTrace } from '../analyze/index.ts';
import type { VerbContext } from './verb.ts';

/** Works with an analysis and closes it at the end, however that comes; an interrupt stops its queries. Warns of traces that are cut off. */
export async function closeOnEnd<T>(
  context: Pick<VerbContext, 'output' | 'signal'>,
  analysis: Analysis,
  work: (analysis: Analysis) => Promise<T>,
): Promise<T> {
  const interrupt = () => analysis.interrupt();
  context.signal.addEventListener('abort', interrupt);
  try {
    context.signal.throwIfAborted();
    for (const trace of analysis.traces) warnIfTruncated(context, trace);
    return await work(analysis);
  } finally {
    context.signal.removeEventListener('abort', interrupt);
    await analysis.close();
  }
}

export function warnIfTruncated(
  context: Pick<VerbContext, 'output'>,
  { path, complete }: Pick<OpenTrace, 'path' | 'complete'>,
): void {
  if (!complete) context.output.warn(`${path} is truncated: the result is of its whole batches only`);
}
