import type { Connection } from '@duckdb/node-bindings';
import { duckdb } from './duckdb.ts';

/** DuckDB forgets an interrupt that comes before or between statements, so it is repeated until the query has noticed. */
const REPEAT_MS = 20;

/** Stops one query, whatever it is at. */
export class Interrupt {
  #connection: Connection | undefined;
  #timer: NodeJS.Timeout | undefined;
  #requested = false;

  get requested(): boolean {
    return this.#requested;
  }

  /** The connection that the query runs on, once there is one. */
  attach(connection: Connection): void {
    this.#connection = connection;
  }

  request(): void {
    this.#requested = true;
    this.#send();
    this.#timer ??= setInterval(() => this.#send(), REPEAT_MS);
  }

  /** @throws Error as DuckDB's own if it was requested. */
  check(): void {
    if (this.#requested) throw new Error('INTERRUPT Error: Interrupted!');
  }

  /** To be called when the query is over, before its connection is closed. */
  end(): void {
    clearInterval(this.#timer);
    this.#connection = undefined;
  }

  #send(): void {
    if (this.#connection) duckdb().interrupt(this.#connection);
  }
}
