import type { LeftOutStep } from '../../capture/trace/metadata.ts';
import type { Check, ReportTable } from './scenario.ts';

/** What a scenario finds out, collected while it runs. */
export class Findings {
  readonly checks: Check[] = [];
  readonly tables: ReportTable[] = [];
  readonly leftOut: LeftOutStep[] = [];

  /** Equal or not, as text. */
  expect(what: string, got: string | number | null, expected: string | number): boolean {
    return this.check(what, got === expected, String(got), String(expected));
  }

  check(what: string, ok: boolean, got: string, expected: string): boolean {
    this.checks.push({ what, expected, got, ok });
    return ok;
  }

  leave(step: string, reason: string, errno?: string): void {
    this.leftOut.push({ step, reason, ...(errno !== undefined && errno !== '' && { errno }) });
  }

  get allHold(): boolean {
    return this.checks.every(({ ok }) => ok);
  }
}
