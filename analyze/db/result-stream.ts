import type { Connection, DataChunk, Database, ExtractedStatements, Result } from '@duckdb/node-bindings';
import type { Interrupt } from './interrupt.ts';
import { readChunk, resultColumns, type Chunk, type ResultColumn } from './chunk.ts';
import { duckdb } from './duckdb.ts';

/** Turns what a failed call threw into the error to throw. */
export type ErrorMapper = (cause: unknown) => Error;

/** Throws if a statement of DuckDB's type `type`, one of so many, must not be run. */
export type StatementCheck = (type: number, statements: number) => void;

/**
 * The result of a query as it is computed, on a connection of its own: memory holds a few chunks of it. Read to its end, or `close` it.
 */
export class ResultStream implements AsyncIterable<Chunk> {
  readonly columns: readonly ResultColumn[];
  readonly #result: Result;
  readonly #interrupt: Interrupt;
  readonly #toError: ErrorMapper;
  readonly #release: () => void;
  #fetching: Promise<DataChunk | null> | undefined;
  #done = false;

  private constructor(result: Result, interrupt: Interrupt, toError: ErrorMapper, release: () => void) {
    this.#result = result;
    this.#interrupt = interrupt;
    this.#toError = toError;
    this.#release = release;
    this.columns = resultColumns(result);
  }

  /**
   * Runs all statements of `sql` and returns the result of the last. `interrupt` stops them, and the stream later; `check` throws for a statement
   * that is not to be run.
   */
  static async open(
    database: Database,
    sql: string,
    interrupt: Interrupt,
    check: StatementCheck,
    toError: ErrorMapper,
    onEnd: () => void,
  ): Promise<ResultStream> {
    let connection: Connection | undefined;
    const release = (): void => {
      interrupt.end();
      if (connection) duckdb().disconnect_sync(connection);
      onEnd();
    };
    try {
      connection = await duckdb().connect(database);
      interrupt.attach(connection);
      const result = await runStatements(connection, sql, interrupt, check);
      return new ResultStream(result, interrupt, toError, release);
    } catch (cause) {
      release();
      throw toError(cause);
    }
  }

  /** The next chunk of DuckDB, not empty; null at the end. The stream is closed by the end and by an error. */
  async next(): Promise<DataChunk | null> {
    if (this.#done) return null;
    try {
      this.#fetching = fetchChunk(this.#result);
      const chunk = await this.#fetching;
      if (chunk !== null) return chunk;
      // DuckDB ends an interrupted stream as if it had no more rows; half a result must not pass for a whole one.
      this.#interrupt.check();
    } catch (cause) {
      this.#end();
      throw this.#toError(cause);
    }
    this.#end();
    return null;
  }

  /** The same, copied into typed arrays that the caller owns. */
  async nextChunk(): Promise<Chunk | null> {
    const chunk = await this.next();
    return chunk && readChunk(chunk, this.columns);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Chunk, void, void> {
    try {
      for (let chunk = await this.nextChunk(); chunk !== null; chunk = await this.nextChunk()) yield chunk;
    } finally {
      await this.close();
    }
  }

  /** Stops the query and frees what it holds. Idempotent; a `next` that is under way fails with INTERRUPTED. */
  async close(): Promise<void> {
    if (this.#done) return;
    // Its threads may wait for read_trace on this very thread: they are stopped and waited for before anything of theirs is freed.
    this.#interrupt.request();
    try {
      await this.#fetching;
      while ((await fetchChunk(this.#result)) !== null);
    } catch {
      // The interrupt itself.
    }
    this.#end();
  }

  #end(): void {
    if (this.#done) return;
    this.#done = true;
    this.#release();
  }
}

/** Runs the statements one after the other; the last one's result is computed as it is fetched. */
async function runStatements(
  connection: Connection,
  sql: string,
  interrupt: Interrupt,
  check: StatementCheck,
): Promise<Result> {
  const { extracted_statements: statements, statement_count: count } = await duckdb().extract_statements(
    connection,
    sql,
  );
  if (count === 0) throw new Error(parseError(statements));
  for (let i = 0; ; i++) {
    interrupt.check();
    const statement = await duckdb().prepare_extracted_statement(connection, statements, i);
    try {
      interrupt.check();
      check(duckdb().prepared_statement_type(statement), count);
      if (i === count - 1) return await duckdb().execute_prepared_streaming(statement);
      await duckdb().execute_prepared(statement);
    } finally {
      duckdb().destroy_prepare_sync(statement);
    }
  }
}

/** A materialised result ends with null, a streamed one with empty chunks. */
async function fetchChunk(result: Result): Promise<DataChunk | null> {
  const chunk = await duckdb().fetch_chunk(result);
  return chunk === null || duckdb().data_chunk_get_size(chunk) === 0 ? null : chunk;
}

/** Why there is no statement to run. */
function parseError(statements: ExtractedStatements): string {
  try {
    return duckdb().extract_statements_error(statements);
  } catch {
    // For blanks and comments DuckDB has no error, which its binding cannot express.
    return 'Parser Error: there is no SQL statement';
  }
}
