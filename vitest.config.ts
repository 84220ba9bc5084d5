import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{cli,capture,analyze,bench,native,datasets}/**/*.test.ts'],
    // `npm run test:lab`: these need the emulated host of `cvmtrace lab`.
    exclude: ['**/*.lab.test.ts', '**/node_modules/**'],
    // Real kernel objects are shared state of the machine: two workers on two cores, and no test relies on another.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
  },
});
