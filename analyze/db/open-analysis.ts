import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Connection, Database } from '@duckdb/node-bindings';
import { CvmtraceError } from '../../native/index.ts';
import { TraceFile } from '../../capture/trace/reader.ts';
import { COLUMNS } from '../../capture/trace/schema.ts';
import { sniffTraceKind } from '../../capture/trace/sniff.ts';
import { Analysis, type SelectableTrace } from './analysis.ts';
import { openParquet } from './parquet-trace.ts';
import { KeptFiles } from './kept-trace.ts';
import { OpType, registerReadTrace, type TraceRegistry } from './read-trace.ts';
import { lockingStatements, openingConfig, quote, SQL_TYPES, threadsFor, type AnalysisOptions } from './settings.ts';
import { sqlError } from './sql-error.ts';
import { stateTableSql } from '../state/tables.ts';
import { sqlTopics, viewSql } from './views.ts';
import { duckdb } from './duckdb.ts';

/**
 * Opens traces (Arrow, also a `.partial`; Parquet) for SQL. Without a path the views are there and empty.
 * @throws CvmtraceError NO_INPUT, BAD_INPUT or IO if a trace is missing, damaged, foreign or unreadable.
 */
export async function openAnalysis(paths: readonly string[], options: AnalysisOptions = {}): Promise<Analysis> {
  const scratchDir = makeScratchDir(options.tempDir ?? tmpdir());
  const arrows = new Map<string, TraceFile>();
  const closeArrows = () => {
    for (const trace of arrows.values()) trace.close();
  };
  let database: Database | undefined;
  try {
    const spillDir = join(scratchDir, 'spill');
    const outDir = join(scratchDir, 'out');
    mkdirSync(spillDir);
    mkdirSync(outDir);
    const config = duckdb().create_config();
    for (const [name, value] of Object.entries(openingConfig(options, spillDir)))
      duckdb().set_config(config, name, value);
    database = await duckdb().open(join(scratchDir, 'work.duckdb'), config);
    const connection = await duckdb().connect(database);
    try {
      const traces: SelectableTrace[] = [];
      const keptFiles = new KeptFiles(connection);
      for (const path of paths) {
        const kept = options.kept?.get(path);
        traces.push(await (kept ? keptFiles.open(path, kept) : openTrace(connection, path, arrows)));
      }
      const threads = threadsFor(options, arrows.size > 0);
      await duckdb().query(connection, `set threads = ${threads}`);
      const registry = new OpenTraces(arrows, threads, paths, options);
      const ops = new OpType(traces.map((trace) => trace.ops));
      registerReadTrace(connection, registry, ops);
      // One by one, each statement would wait for the disk.
      for (const sql of ['begin', ...catalog(traces, ops), 'commit']) await duckdb().query(connection, sql);
      const expensive = paths.flatMap((path) => options.kept?.get(path)?.expensiveFile ?? []);
      const hasExpensive = paths.length > 0 && expensive.length === paths.length;
      if (hasExpensive) await duckdb().query(connection, await keptFiles.expensiveSql(expensive));
      // The scratch database is deleted when it is closed.
      await duckdb().query(connection, 'pragma disable_checkpoint_on_shutdown');
      const readable = traces.filter(({ kind }) => kind === 'parquet').map(({ path }) => path);
      for (const sql of lockingStatements(options, readable, outDir)) await duckdb().query(connection, sql);
      return new Analysis({
        database,
        traces,
        scratchDir,
        allowFiles: options.allowFiles === true,
        hasExpensive,
        onExpensive: options.onExpensive,
        onDamage: options.kept && options.kept.size > 0 ? options.onDamage : undefined,
        takeTraceError: (text) => registry.take(text),
        dispose: closeArrows,
      });
    } finally {
      duckdb().disconnect_sync(connection);
    }
  } catch (cause) {
    if (database) duckdb().close_sync(database);
    closeArrows();
    rmSync(scratchDir, { recursive: true, force: true });
    throw sqlError(cause);
  }
}

function makeScratchDir(tempDir: string): string {
  try {
    return mkdtempSync(join(tempDir, 'cvmtrace-'));
  } catch (cause) {
    throw new CvmtraceError('IO', `cannot make a temporary folder in ${tempDir}: ${String(cause)}`, {
      path: tempDir,
      hint: 'set TMPDIR to a folder that can be written',
      cause,
    });
  }
}

async function openTrace(
  connection: Connection,
  path: string,
  arrows: Map<string, TraceFile>,
): Promise<SelectableTrace> {
  if (sniffTraceKind(path) === 'parquet') return openParquet(connection, path);
  const trace = arrows.get(resolve(path)) ?? TraceFile.open(path, { allowPartial: true });
  arrows.set(resolve(path), trace);
  const { metadata, rows, complete, ops } = trace;
  return { path, kind: 'arrow', metadata, rows, complete, ops, select: `from read_trace(${quote(path)})` };
}

/** The op type, `traces`, the rows of all traces under each other, and the views. */
function catalog(traces: readonly SelectableTrace[], ops: OpType): string[] {
  const names = COLUMNS.map(({ name }) => `"${name}"`).join(', ');
  const selects = traces.map(({ select }, trace) => `select ${trace}::uinteger as trace, ${names} from (${select})`);
  const empty = `select null::uinteger as trace, ${COLUMNS.map(({ name, type }) => `null::${SQL_TYPES[type]} as "${name}"`).join(', ')} where false`;
  return [
    `create type op_name as enum (${ops.names.map(quote).join(', ')})`,
    'create table traces (trace uinteger, path varchar, kind varchar, source varchar, rows ubigint, complete boolean, metadata json)',
    ...traces.map(
      ({ path, kind, metadata, rows, complete }, trace) =>
        `insert into traces values (${trace}, ${quote(path)}, ${quote(kind)}, ${quote(metadata.source)}, ${rows}, ${complete}, ${quote(JSON.stringify(metadata))})`,
    ),
    `create view _trace_rows as ${selects.length > 0 ? selects.join(' union all ') : empty}`,
    stateTableSql(),
    ...sqlTopics().map(viewSql),
  ];
}

/** Which files `read_trace` may read, and the last error of reading one. */
class OpenTraces implements TraceRegistry {
  readonly threads: number;
  readonly #open: Map<string, TraceFile>;
  /** Traces that were given; kept ones among them are not open until they are asked for. */
  readonly #given: ReadonlySet<string>;
  readonly #options: AnalysisOptions;
  #failure: CvmtraceError | undefined;
  #rows = 0;

  constructor(open: Map<string, TraceFile>, threads: number, given: readonly string[], options: AnalysisOptions) {
    this.#open = open;
    this.#given = new Set(given.map((path) => resolve(path)));
    this.#options = options;
    this.threads = threads;
  }

  scanned(rows: number): void {
    this.#rows += rows;
    this.#options.onRows?.(this.#rows);
  }

  find(path: string): TraceFile {
    const key = resolve(path);
    const open = this.#open.get(key);
    if (open) return open;
    if (this.#options.allowFiles !== true && !this.#given.has(key)) {
      throw new CvmtraceError('USAGE', `read_trace(${quote(path)}): not one of the traces that were opened`, {
        hint: 'name it on the command line, or let SQL read files with --allow-files',
        path,
      });
    }
    const trace = TraceFile.open(path, { allowPartial: true });
    this.#open.set(key, trace);
    return trace;
  }

  failed(error: CvmtraceError): void {
    this.#failure = error;
  }

  /** The error that DuckDB's `text` is about, once. */
  take(text: string): CvmtraceError | undefined {
    const failure = this.#failure;
    if (!failure || !text.includes(failure.message)) return undefined;
    this.#failure = undefined;
    return failure;
  }
}
