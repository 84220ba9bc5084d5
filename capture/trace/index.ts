/**
 * capture/trace: the format of a trace (an Arrow IPC file with fixed columns and one metadata key), its writer, its reader, recovery of what a
 * crash left, and verification. `schema.ts` lists the columns, `metadata.schema.json` describes the metadata.
 */
export type { BatchColumns, TraceBatch } from './batch.ts';
export { isValid } from './bitmap.ts';
export { ColumnScratch, type ColumnData, type FixedColumnData, type Utf8ColumnData } from './column-data.ts';
export type { ColumnBuffers, FixedArray, TraceColumn } from './columns.ts';
export type { FlushClock } from './flush-timer.ts';
export { METADATA_SCHEMA_PATH, metadataProblem, parseMetadata } from './metadata-json.ts';
export * from './metadata.ts';
export { TraceFile, type OpenOptions, type TraceBatchInfo, type TraceEndRow } from './reader.ts';
export { COLUMNS, METADATA_KEY, TRACE_END, type Column, type ColumnName, type FixedColumnName } from './schema.ts';
export { sniffTraceKind, type TraceKind } from './sniff.ts';
export type { Cut } from './structure.ts';
export { partialPath, TraceWriter, type TraceEnd, type WriterOptions, type WrittenTrace } from './writer.ts';
export { recoverTrace, type RecoveredTrace, type RecoverOptions } from './recover.ts';
export { readRows, type RowValue, type TraceRow } from './rows.ts';
export type { Problem, ProblemKind } from './problem.ts';
export { verifyTrace, type Verification } from './verify.ts';
