import { configDefaults, defineConfig } from 'vitest/config';

/** Without global state, signals or kernel objects of their own: one process runs many of these, and loads DuckDB once. */
const TOGETHER = [
  'analyze/**/*.test.ts',
  'capture/import/**/*.test.ts',
  'bench/{compare,stats,strategies}/**/*.test.ts',
  'cli/format*.test.ts',
];

// `npm run test:lab` runs these: *.lab.test.ts boot the emulated host of `cvmtrace lab`, *.inside.test.ts run in it; and `npm run test:slow` *.slow.test.ts.
const ELSEWHERE = ['**/*.lab.test.ts', '**/*.inside.test.ts', '**/*.slow.test.ts'];

const common = { pool: 'forks', testTimeout: 30_000 } as const;

export default defineConfig({
  test: {
    // Real kernel objects are shared state of the machine: two workers on two cores, and no test relies on another.
    maxWorkers: 2,
    projects: [
      {
        test: {
          ...common,
          name: 'together',
          include: TOGETHER,
          exclude: [...configDefaults.exclude, ...ELSEWHERE],
          isolate: false,
        },
      },
      {
        test: {
          ...common,
          name: 'apart',
          include: ['{cli,capture,analyze,bench,native,datasets}/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...ELSEWHERE, ...TOGETHER],
        },
      },
    ],
  },
});
