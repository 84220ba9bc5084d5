/**
 * analyze/: questions to traces. `db/` is the only user of DuckDB: it opens traces for SQL (`read_trace`) with the views of `sql/`, one file per topic,
 * plain SQL over one `events` table, and the documented queries of `sql/questions/`. `state/` follows what is live from row to row in one ordered
 * pass (slots, sides, what is held, DMA mappings), fills tables that the views read, and finds hazards. `report/` turns all into findings as plain
 * values; `cache/` keeps what was made of large traces; `perfetto/` writes traces for its UI. Nothing here prints.
 */
export { keepReport, keptReport, openCached, type CacheUse } from './cache/open-cached.ts';
export { DEFAULT_LIMIT_BYTES, TraceCache } from './cache/trace-cache.ts';
export type { CacheEntry } from './cache/entry.ts';
export * from './db/analysis.ts';
export * from './db/chunk.ts';
export type { CopyFormat, CopyOptions } from './db/copy-to.ts';
export { openAnalysis } from './db/open-analysis.ts';
export { ResultStream } from './db/result-stream.ts';
export type { AnalysisOptions } from './db/settings.ts';
export * from './db/library.ts';
export { sqlTopics, viewSql, viewTopics } from './db/views.ts';
export * from './report/report.ts';
