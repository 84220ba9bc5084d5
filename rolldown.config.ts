import { defineConfig } from 'rolldown';

// The command line as one file: it starts in a third of the time of five hundred, which counts most where files are slow (in the lab, over 9p).
// DuckDB stays outside; it is a library of its own that most commands never load.
export default defineConfig({
  input: 'cli/main.ts',
  platform: 'node',
  external: [/^@duckdb\//],
  transform: { target: 'node20' },
  logLevel: 'warn',
  output: { file: 'dist/cli/main.js', format: 'esm', sourcemap: true },
});
