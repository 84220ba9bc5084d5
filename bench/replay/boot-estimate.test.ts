import { describe, expect, it } from 'vitest';
import { estimateBoot } from './boot-estimate.ts';

const vcpu = (number: number, stallNs: number, faultNs = 0) => ({ vcpu: number, stallNs, faultNs });

describe('estimateBoot', () => {
  it('replaces recorded stalls by replayed ones', () => {
    expect(estimateBoot({ wallNs: 1000, vcpus: [vcpu(0, 300, 100)] }, [vcpu(0, 100, 50)])).toBe(750);
  });

  it('ends with the slowest vCPU', () => {
    const recorded = { wallNs: 1000, vcpus: [vcpu(0, 500), vcpu(1, 100)] };
    expect(estimateBoot(recorded, [vcpu(0, 100), vcpu(1, 50)])).toBe(950);
    expect(estimateBoot(recorded, [vcpu(0, 700), vcpu(1, 50)])).toBe(1200);
  });

  it('takes a vCPU that did nothing in the replay as never waiting', () => {
    expect(estimateBoot({ wallNs: 1000, vcpus: [vcpu(3, 400)] }, [])).toBe(600);
  });
});
