import type { Verb } from '../verb.ts';
import { probeVerb } from './probe.ts';

/** All verbs, in the order of the program's help: what a newcomer needs first is first. */
export const VERBS: readonly Verb[] = [probeVerb];
