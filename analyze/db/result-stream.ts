import duckdb from '@duckdb/node-bindings';
import type { Connection, DataChunk, Database, ExtractedStatements, Result } from '@duckdb/node-bindings';
import { readChunk, resultColumns, type Chunk, type ResultColumn } from './chunk.ts';

/** Turns what a failed call threw into the error to throw. */
export type ErrorMapper = (cause: unknown) => Error;

/**
 * The result of a query as it is computed, on a connection of its own: memory holds a few chunks of it. Read to its end, or `close` it.
 */
export class ResultStream implements AsyncIterable<Chunk> {
  readonly columns: readonly ResultColumn[];
  readonly #connection: Connection;
  readonly #result: Result;
  readonly #toError: ErrorMapper;
  readonly #onClose: () => void;
  #fetching: Promise<DataChunk | null> | undefined;
  #interrupted = false;
  #done = false;

  private constructor(connection: Connection, result: Result, toError: ErrorMapper, onClose: () => void) {
    this.#connection = connection;
    this.#result = result;
    this.#toError = toError;
    this.#onClose = onClose;
    this.columns = resultColumns(result);
  }

  /** Runs all statements of `sql` and returns the result of the last. `connections` holds the connection as long as the query lives. */
  static async open(
    database: Database,
    sql: string,
    toError: ErrorMapper,
    connections: Map<Connection, ResultStream | null>,
  ): Promise<ResultStream> {
    const connection = await duckdb.connect(database);
    connections.set(connection, null);
    const release = () => {
      connections.delete(connection);
      duckdb.disconnect_sync(connection);
    };
    try {
      const { extracted_statements: statements, statement_count: count } = await duckdb.extract_statements(
        connection,
        sql,
      );
      if (count === 0) throw new Error(parseError(statements));
      for (let i = 0; ; i++) {
        const statement = await duckdb.prepare_extracted_statement(connection, statements, i);
        try {
          if (i === count - 1) {
            const stream = new ResultStream(
              connection,
              await duckdb.execute_prepared_streaming(statement),
              toError,
              release,
            );
            connections.set(connection, stream);
            return stream;
          }
          await duckdb.execute_prepared(statement);
        } finally {
          duckdb.destroy_prepare_sync(statement);
        }
      }
    } catch (cause) {
      release();
      throw toError(cause);
    }
  }

  /** The next chunk of DuckDB, not empty; null at the end. The stream is closed by the end and by an error. */
  async next(): Promise<DataChunk | null> {
    try {
      if (!this.#done) {
        this.#fetching = fetchChunk(this.#result);
        const chunk = await this.#fetching;
        if (chunk !== null) return chunk;
        // DuckDB ends an interrupted stream as if it had no more rows; half a result must not pass for a whole one.
        if (this.#interrupted) throw new Error('INTERRUPT Error: Interrupted!');
      }
    } catch (cause) {
      this.#release();
      throw this.#toError(cause);
    }
    this.#release();
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

  /** Stops the query; the next `next` fails with INTERRUPTED. The stream is still to be closed. */
  interrupt(): void {
    if (this.#done) return;
    this.#interrupted = true;
    duckdb.interrupt(this.#connection);
  }

  /** Stops the query and frees what it holds. Idempotent; a `next` that is under way fails with INTERRUPTED. */
  async close(): Promise<void> {
    if (this.#done) return;
    // Its threads may wait for read_trace on this very thread: they are stopped and waited for before anything of theirs is freed.
    this.interrupt();
    try {
      await this.#fetching;
      while ((await fetchChunk(this.#result)) !== null);
    } catch {
      // The interrupt itself.
    }
    this.#release();
  }

  #release(): void {
    if (this.#done) return;
    this.#done = true;
    this.#onClose();
  }
}

/** A materialised result ends with null, a streamed one with empty chunks. */
async function fetchChunk(result: Result): Promise<DataChunk | null> {
  const chunk = await duckdb.fetch_chunk(result);
  return chunk === null || duckdb.data_chunk_get_size(chunk) === 0 ? null : chunk;
}

/** Why there is no statement to run. */
function parseError(statements: ExtractedStatements): string {
  try {
    return duckdb.extract_statements_error(statements);
  } catch {
    // For blanks and comments DuckDB has no error, which its binding cannot express.
    return 'Parser Error: there is no SQL statement';
  }
}
