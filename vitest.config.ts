import { configDefaults, defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{cli,capture,analyze,bench,native,datasets}/**/*.test.ts'],
    // `npm run test:lab` runs these: *.lab.test.ts boot the emulated host of `cvmtrace lab`, *.inside.test.ts run in it.
    exclude: [...configDefaults.exclude, '**/*.lab.test.ts', '**/*.inside.test.ts'],
    // Real kernel objects are shared state of the machine: two workers on two cores, and no test relies on another.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
  },
});
