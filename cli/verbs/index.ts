import type { Verb } from '../verb.ts';
import { analyzeVerb } from './analyze.ts';
import { benchVerb } from './bench.ts';
import { cacheVerb } from './cache.ts';
import { compareVerb } from './compare.ts';
import { exportVerb } from './export.ts';
import { importVerb } from './import.ts';
import { infoVerb } from './info.ts';
import { labVerb } from './lab.ts';
import { markVerb } from './mark.ts';
import { probeVerb } from './probe.ts';
import { quickstartVerb } from './quickstart.ts';
import { recordVerb } from './record.ts';
import { recoverVerb } from './recover.ts';
import { replayVerb } from './replay.ts';
import { runVerb } from './run.ts';
import { sqlVerb } from './sql.ts';
import { verifyVerb } from './verify.ts';

/** All verbs, in the order of the program's help: what a newcomer needs first is first. */
export const VERBS: readonly Verb[] = [
  quickstartVerb,
  probeVerb,
  runVerb,
  recordVerb,
  markVerb,
  importVerb,
  replayVerb,
  infoVerb,
  analyzeVerb,
  compareVerb,
  sqlVerb,
  exportVerb,
  verifyVerb,
  recoverVerb,
  cacheVerb,
  benchVerb,
  labVerb,
];
