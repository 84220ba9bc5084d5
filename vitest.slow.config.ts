import { defineConfig } from 'vitest/config';

/** What takes seconds each: hostile traces of all sorts, random VMMs with one fault, runs compared, the cache with several processes, scenarios as a whole. */
export default defineConfig({
  test: {
    include: ['**/*.slow.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
