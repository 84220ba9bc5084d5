import { describe, expect, it } from 'vitest';
import type { ScenarioReport } from '../bench/scenarios/index.ts';
import { formatScenario, scenarioFields } from './scenario-report.ts';
import { styleFor } from './style.ts';

const style = styleFor({ stdout: { isTTY: false } as never, env: {} }, false);

function report(changes: Partial<ScenarioReport> = {}): ScenarioReport {
  return {
    scenario: 'nested',
    checks: [{ what: 'entries done of 16', expected: '16', got: '16', ok: true }],
    tables: [
      {
        title: 'Costs',
        columns: [
          { title: 'way', unit: 'text' },
          { title: 'calls', unit: 'count' },
          { title: 'size', unit: 'bytes' },
          { title: 'time', unit: 'ns' },
          { title: 'published', unit: 'ns', elsewhere: true },
          { title: 'ratio', unit: 'ratio' },
        ],
        rows: [
          ['one', 2048, 65_536, { value: 1500, low: 1400, high: 1600, runs: 7 }, 32e9, 1],
          ['two', 1, 0, 850, null, { value: 2.5, low: null, high: null, runs: 1 }],
        ],
        notes: ['read it so'],
      },
    ],
    leftOut: [{ step: 'pasid-attach', errno: 'EINVAL', reason: 'too old' }],
    emulated: true,
    trace: 'x.arrow',
    ...changes,
  };
}

describe('report of a scenario', () => {
  it('calls every time of an emulated host emulated, and no other number', () => {
    const text = formatScenario(report(), style);
    expect(text).toContain('1.50 us emulated (1.40 us .. 1.60 us)');
    expect(text).toContain('850 ns emulated');
    expect(text).toMatch(/32\.0 s +1\.00$/m);
    expect(text).toMatch(/two +1 +0 +850 ns emulated +- +2\.50$/m);
    expect(formatScenario(report({ emulated: false }), style)).not.toContain('emulated');
  });

  it('says what does not hold, and what it should have been', () => {
    const checks = [...report().checks, { what: 'faults', expected: '50', got: '49', ok: false }];
    const text = formatScenario(report({ checks }), style);
    expect(text).toContain('1 of 2 checks do not hold');
    expect(text).toMatch(/FAILED +faults +49, expected 50/);
    expect(scenarioFields(report({ checks }))).toMatchObject({ holds: false });
    expect(scenarioFields(report())).toMatchObject({ holds: true, scenario: 'nested' });
  });

  it('names what the kernel lacks, with its errno', () => {
    expect(formatScenario(report(), style)).toContain('left out: pasid-attach (EINVAL): too old');
  });
});
