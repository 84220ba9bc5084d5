import { discard } from './discard.ts';
import { inPlace } from './in-place.ts';
import { liveUpdate } from './live-update.ts';
import { nested } from './nested.ts';
import type { Scenario } from './scenario.ts';
import { sharedDeviceAssignment } from './shared-device-assignment.ts';

export * from './scenario.ts';

export const SCENARIOS: readonly Scenario[] = [sharedDeviceAssignment, discard, nested, inPlace, liveUpdate];
