import { defineConfig } from 'vitest/config';

// Each of these boots an emulated machine: one at a time, as it has two CPUs itself.
export default defineConfig({
  test: {
    include: ['**/*.lab.test.ts'],
    globalSetup: 'bench/lab/testing/kernels.ts',
    pool: 'forks',
    maxWorkers: 1,
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
