import { defineConfig } from 'vitest/config';

// Run by bench/lab/inside.lab.test.ts in the lab, where the kernel has what they need.
export default defineConfig({
  test: { include: ['**/*.inside.test.ts'], pool: 'forks', maxWorkers: 1, testTimeout: 120_000 },
});
