import { createRequire } from 'node:module';
import type * as Api from '@duckdb/node-api';
import type * as Bindings from '@duckdb/node-bindings';

const require = createRequire(import.meta.url);

let bindings: typeof Bindings | undefined;
let api: typeof Api | undefined;

/** DuckDB, loaded when it is first used: a library of some 60 MB, which a command that only captures does without. */
export function duckdb(): typeof Bindings {
  return (bindings ??= require('@duckdb/node-bindings') as typeof Bindings);
}

/** Its higher layer, likewise. */
export function duckdbApi(): typeof Api {
  return (api ??= require('@duckdb/node-api') as typeof Api);
}
