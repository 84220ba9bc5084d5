import { analyzeSuite } from './analyze.ts';
import { bigTraceSuite } from './big-trace.ts';
import { executorSuite } from './executor.ts';
import { importSuite } from './import.ts';
import { readTraceSuite } from './read-trace.ts';
import { recordBootSuite } from './record-boot.ts';
import { recordSuite } from './record.ts';
import { replaySetUpSuite } from './replay-set-up.ts';
import type { Suite } from './suite.ts';
import { writerSuite } from './writer.ts';

/** All benchmarks, in the order in which they run. */
export const SUITES: readonly Suite[] = [
  executorSuite,
  writerSuite,
  readTraceSuite,
  importSuite,
  recordSuite,
  recordBootSuite,
  replaySetUpSuite,
  analyzeSuite,
  bigTraceSuite,
];
