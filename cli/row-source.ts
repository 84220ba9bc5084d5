import { chunkRows, type ResultStream } from '../analyze/index.ts';
import type { CellValue, RowSource } from './format-rows.ts';

/** The rows of a query as they are computed, some thousand at a time. */
export function rowSource(stream: ResultStream): RowSource {
  return { columns: stream.columns, batches: batches(stream) };
}

async function* batches(stream: ResultStream): AsyncGenerator<readonly (readonly CellValue[])[], void, void> {
  for (let chunk = await stream.next(); chunk !== null; chunk = await stream.next()) yield chunkRows(chunk);
}
