/** Scenarios on this host, as far as it goes, and on kernels that nobody has here. The lab's tests run all of them on a kernel that has the rest. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openAnalysis } from '../../analyze/index.ts';
import { loadNative } from '../../native/index.ts';
import { allHold, type Scenario, SCENARIOS, type ScenarioReport, type ScenarioRun } from './index.ts';
import { scriptedNative } from './testing/scripted-native.ts';

const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

const ERRNO = { ENOENT: 2, EAGAIN: 11, EFAULT: 14, EINVAL: 22 } as const;
const PAGE = 4096;

function find(name: string): Scenario {
  const scenario = SCENARIOS.find((candidate) => candidate.name === name);
  if (!scenario) throw new Error(`no scenario ${name}`);
  return scenario;
}

let traces = 0;
function play(name: string, options: Partial<ScenarioRun> = {}): Promise<ScenarioReport> {
  return find(name).run({
    native: loadNative(),
    out: join(folder, `${name}-${traces++}.arrow`),
    force: false,
    command: ['test'],
    signal: new AbortController().signal,
    ...options,
  });
}

function failures({ checks }: ScenarioReport): string[] {
  return checks.filter(({ ok }) => !ok).map(({ what, got, expected }) => `${what}: ${got}, not ${expected}`);
}

describe('scenarios', () => {
  it('are named once, and say whom they re-enact', () => {
    const names = SCENARIOS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const { summary, source, needs } of SCENARIOS)
      for (const text of [summary, source, needs]) expect(text).not.toBe('');
  });

  it.each([
    ['shared-device-assignment', { dma: 'type2' }, 'type2'],
    ['nested', { dma: 'type1' }, 'does not run with --dma type1'],
    ['discard', { dma: 'mock' }, 'does not run with --dma mock'],
    ['nested', { parameters: { repeat: 7 } }, 'repeat'],
    ['live-update', { parameters: { mappings: 0 } }, 'mappings'],
    ['shared-device-assignment', { dma: 'type1' }, '--device'],
  ])('%s refuses %o', async (name, options, message) => {
    await expect(play(name, options)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining(message) as string,
    });
  });

  it('an interrupted one leaves a whole trace', async () => {
    const controller = new AbortController();
    const out = join(folder, 'interrupted.arrow');
    const running = play('in-place', { out, signal: controller.signal, onProgress: () => controller.abort() });
    await expect(running).rejects.toMatchObject({ code: 'INTERRUPTED' });
    await using analysis = await openAnalysis([out]);
    const { rows } = await analysis.query(`select result from events where detail = 'trace_end'`);
    expect(rows).toEqual([[130n]]);
  });

  it('do not overwrite a trace', async () => {
    const { trace } = await play('in-place');
    await expect(play('in-place', { out: trace })).rejects.toMatchObject({ code: 'IO' });
  });
});

describe('discard', () => {
  it('replays what it recorded under each strategy and compares the boots', async () => {
    const report = await play('discard', { parameters: { transactions: 300, think: 1000, rounds: 2 } });
    expect(failures(report)).toEqual([]);
    const [boots, times] = report.tables;
    expect(boots?.rows.map((row) => [row[0], row[3]])).toEqual([
      ['attributes-only', 32e9],
      ['upm-eager', 103e9],
      ['upm-no-shared-discard', 68e9],
      [expect.stringContaining('lazy-discard'), null],
    ]);
    expect(times?.rows[0]?.[4]).toBe(0);
    expect(Number(times?.rows[1]?.[4])).toBeGreaterThan(Number(times?.rows[2]?.[4]));
  });
});

describe('in-place', () => {
  it('on this host: nothing of a punched page stays with a mapping of the host', async () => {
    const report = await play('in-place');
    expect(failures(report)).toEqual([]);
    expect(report.tables[0]?.rows[0]?.[0]).toBe('a mapping of the host');
    await using analysis = await openAnalysis([report.trace]);
    const { rows } = await analysis.query(
      `select count(*) from events where op in ('gmem_punch_hole', 'ram_punch_hole') and errno = 0`,
    );
    expect(rows).toEqual([[1n]]);
  });

  it('on a kernel with KVM_SET_MEMORY_ATTRIBUTES2: refused with the held byte, let go, tried again', async () => {
    let isPrivate = false;
    let held = false;
    let resident = true;
    const native = scriptedNative(
      ({ op, attrs }) => {
        switch (op) {
          case 'kvm_set_memory_attributes2':
            if (attrs !== 0 && held) return { errno: ERRNO.EAGAIN, result: 5 * PAGE };
            isPrivate = attrs !== 0;
            return {};
          case 'gmem_touch':
            if (isPrivate) return { errno: ERRNO.EFAULT };
            resident = true;
            return {};
          case 'gmem_punch_hole':
            resident = false;
            return {};
          case 'gup_hold':
            held = true;
            return {};
          case 'gup_release':
            held = false;
            return {};
          case 'iommufd_open':
            return { errno: ERRNO.ENOENT };
          default:
            return {};
        }
      },
      () => (resident ? 16 * PAGE : 0),
    );
    const report = await play('in-place', { native });
    // The pins of this machine are counted, not those of the one that is made up.
    const made = { ...report, checks: report.checks.filter(({ what }) => !what.includes('pinned')) };
    expect(failures(made)).toEqual([]);
    expect(report.leftOut.map(({ step }) => step)).toEqual(['iommu-holder']);
    const [mapping, pin] = report.tables[0]?.rows ?? [];
    expect(mapping?.slice(0, 4)).toEqual(['a mapping of the host', 'success', 0, '']);
    expect(pin?.slice(0, 4)).toEqual(['a long-term pin', 'EAGAIN', 5 * PAGE, 'success']);
  });

  it('on a kernel that converts a held page: the check fails, and the trace says so', async () => {
    const native = scriptedNative(({ op }) => (op === 'iommufd_open' ? { errno: ERRNO.ENOENT } : {}));
    const report = await play('in-place', { native });
    expect(allHold(report)).toBe(false);
    expect(failures(report)).toContain('a long-term pin: conversion: success, not EAGAIN');
    await using analysis = await openAnalysis([report.trace]);
    const { rows } = await analysis.query(`select result from events where detail = 'trace_end'`);
    expect(rows).toEqual([[1n]]);
  });
});
