import { describe, expect, it } from 'vitest';
import { estimateBoot } from './boot-estimate.ts';

const vcpu = (number: number, stallNs: number, faultNs = 0) => ({ vcpu: number, stallNs, faultNs });

describe('estimateBoot', () => {
  it('replaces recorded stalls by replayed ones', () => {
    const { bootNs } = estimateBoot({ wallNs: 1000, vcpus: [vcpu(0, 300, 100)] }, [[vcpu(0, 100, 50)]]);
    expect(bootNs).toEqual({ value: 750, low: null, high: null, runs: 1 });
  });

  it('ends with the slowest vCPU of each run, and tells each', () => {
    const recorded = { wallNs: 1000, vcpus: [vcpu(0, 500), vcpu(1, 100)] };
    const { bootNs, vcpus } = estimateBoot(recorded, [
      [vcpu(0, 100), vcpu(1, 50)],
      [vcpu(0, 700), vcpu(1, 50)],
    ]);
    expect(bootNs.value).toBe((950 + 1200) / 2);
    expect(vcpus.map(({ vcpu, endNs }) => [vcpu, endNs.value])).toEqual([
      [0, (600 + 1200) / 2],
      [1, 950],
    ]);
    expect(vcpus[1]?.endNs).toMatchObject({ low: 950, high: 950 });
  });

  it('takes a vCPU that did nothing in the replay as never waiting', () => {
    expect(estimateBoot({ wallNs: 1000, vcpus: [vcpu(3, 400)] }, [[]]).bootNs.value).toBe(600);
  });
});
