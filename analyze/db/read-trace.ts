import type { Connection, LogicalType } from '@duckdb/node-bindings';
import { CvmtraceError, OPS } from '../../native/index.ts';
import { COLUMNS, type Column } from '../../capture/trace/schema.ts';
import type { TraceFile } from '../../capture/trace/reader.ts';
import { TraceScan, type OpCodes } from './trace-scan.ts';
import { duckdb } from './duckdb.ts';

/** The common type of `op`: the names this version knows, then the others that the traces' dictionaries hold. */
export class OpType {
  readonly names: readonly string[];

  constructor(dictionaries: Iterable<readonly string[]>) {
    this.names = [...new Set([...OPS, ...[...dictionaries].flatMap((names) => [...names])])];
  }

  /** What the indices of a file's dictionary are in this type. */
  codesOf(dictionary: readonly string[]): OpCodes {
    if (dictionary.every((name, index) => this.names[index] === name)) {
      return this.names.length <= 0x100 ? undefined : Uint16Array.from(dictionary.keys());
    }
    const codes = dictionary.map((name) => this.names.indexOf(name));
    // DuckDB has one byte for a code of an ENUM with at most 256 names.
    return this.names.length <= 0x100 ? Uint8Array.from(codes) : Uint16Array.from(codes);
  }

  logicalType(): LogicalType {
    return duckdb().create_enum_type(this.names);
  }
}

/** The files that `read_trace` may read. */
export interface TraceRegistry {
  /**
   * The trace that SQL means by this path.
   * @throws CvmtraceError USAGE if it is none of the analysis' traces.
   */
  find(path: string): TraceFile;
  /** Is told of an error that ends a query, because DuckDB hands on its text only. */
  failed(error: CvmtraceError): void;
  /** Is told of rows that were read. */
  scanned(rows: number): void;
  readonly threads: number;
}

/** As `read_trace`, but rows come as they are in the file: by one thread. */
export const READ_IN_ORDER = '_read_trace_in_order';

/**
 * Makes `read_trace(path)` known to the database: the rows of an Arrow trace with the columns of the format, of which only those that a query
 * uses are read. DuckDB runs its threads' calls on the JavaScript thread one after the other.
 */
export function registerReadTrace(connection: Connection, registry: TraceRegistry, ops: OpType): void {
  register(connection, 'read_trace', registry.threads, registry, ops);
  register(connection, READ_IN_ORDER, 1, registry, ops);
}

function register(connection: Connection, name: string, threads: number, registry: TraceRegistry, ops: OpType): void {
  const types = COLUMNS.map((column) => columnType(column, ops));
  const fn = duckdb().create_table_function();
  duckdb().table_function_set_name(fn, name);
  duckdb().table_function_add_parameter(fn, duckdb().create_logical_type(duckdb().Type.VARCHAR));
  duckdb().table_function_supports_projection_pushdown(fn, true);

  duckdb().table_function_set_bind(fn, (info) => {
    guard(
      registry,
      (message) => duckdb().bind_set_error(info, message),
      () => {
        const source = registry.find(duckdb().get_varchar(duckdb().bind_get_parameter(info, 0)));
        COLUMNS.forEach(({ name }, i) => duckdb().bind_add_result_column(info, name, types[i] as LogicalType));
        duckdb().bind_set_cardinality(info, source.rows, true);
        duckdb().bind_set_bind_data(info, source);
      },
    );
  });
  duckdb().table_function_set_init(fn, (info) => {
    guard(
      registry,
      (message) => duckdb().init_set_error(info, message),
      () => {
        const source = duckdb().init_get_bind_data(info) as TraceFile;
        const projected = Array.from(
          { length: duckdb().init_get_column_count(info) },
          (_, i) => COLUMNS[duckdb().init_get_column_index(info, i)],
        );
        duckdb().init_set_init_data(info, new TraceScan(source, ops.codesOf(source.ops), projected));
        duckdb().init_set_max_threads(info, threads);
      },
    );
  });
  duckdb().table_function_set_function(fn, (info, output) => {
    guard(
      registry,
      (message) => duckdb().function_set_error(info, message),
      () => {
        registry.scanned((duckdb().function_get_init_data(info) as TraceScan).fill(output));
      },
    );
  });
  duckdb().register_table_function(connection, fn);
}

/** Runs a callback of DuckDB; what it throws becomes the query's error, for nothing may be thrown into DuckDB. */
function guard(registry: TraceRegistry, setError: (message: string) => void, run: () => void): void {
  try {
    run();
  } catch (cause) {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    if (error instanceof CvmtraceError) registry.failed(error);
    setError(error.message);
  }
}

function columnType(column: Column, ops: OpType): LogicalType {
  switch (column.type) {
    case 'uint16':
      return duckdb().create_logical_type(duckdb().Type.USMALLINT);
    case 'uint32':
      return duckdb().create_logical_type(duckdb().Type.UINTEGER);
    case 'uint64':
      return duckdb().create_logical_type(duckdb().Type.UBIGINT);
    case 'int64':
      return duckdb().create_logical_type(duckdb().Type.BIGINT);
    case 'utf8':
      return duckdb().create_logical_type(duckdb().Type.VARCHAR);
    case 'dictionary<uint8, utf8>':
      return ops.logicalType();
  }
}
