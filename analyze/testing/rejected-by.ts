import { expect } from 'vitest';
import { CvmtraceError, type ErrorCode } from '../../native/index.ts';

/** Runs `action` and returns the CvmtraceError that it rejects with. */
export async function rejectedBy(action: () => Promise<unknown>, code: ErrorCode): Promise<CvmtraceError> {
  let thrown: unknown;
  try {
    await action();
  } catch (error) {
    thrown = error;
  }
  if (!(thrown instanceof CvmtraceError)) throw new Error(`no CvmtraceError but ${String(thrown)}`, { cause: thrown });
  expect({ code: thrown.code, message: thrown.message }).toMatchObject({ code });
  return thrown;
}
