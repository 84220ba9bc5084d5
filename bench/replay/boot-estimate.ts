import { type Interval, meanInterval } from '../stats/interval.ts';
import type { RecordedTimes, VcpuStall } from './recorded.ts';

/** Modelled end of one vCPU's boot, ns since the recording's start. */
export interface VcpuEnd {
  readonly vcpu: number;
  readonly endNs: Interval;
}

/** Modelled boot under a strategy. */
export interface BootEstimate {
  /** Of the slowest vCPU in each run. */
  readonly bootNs: Interval;
  readonly vcpus: readonly VcpuEnd[];
}

/**
 * How long the boot would have taken: for each vCPU the recorded wall time, minus what it stood still in the recording, plus what the same requests
 * took in the replay; the boot ends with its slowest vCPU. Faults of its own accesses count as standing still: a strategy that discards more makes
 * the guest fault more, after the conversion.
 *
 * Modelled: a vCPU that waits less is taken to do nothing else differently.
 * @param runs what each vCPU stood still in each run of the replay
 */
export function estimateBoot(recorded: RecordedTimes, runs: readonly (readonly VcpuStall[])[]): BootEstimate {
  const ends = recorded.vcpus.map((vcpu) => ({ vcpu: vcpu.vcpu, ends: runs.map((run) => endOf(recorded, vcpu, run)) }));
  return {
    bootNs: meanInterval(runs.map((_, run) => Math.max(...ends.map((of) => of.ends[run] ?? NaN)))),
    vcpus: ends.map((of) => ({ vcpu: of.vcpu, endNs: meanInterval(of.ends) })),
  };
}

function endOf({ wallNs }: RecordedTimes, { vcpu, stallNs, faultNs }: VcpuStall, run: readonly VcpuStall[]): number {
  const now = run.find((candidate) => candidate.vcpu === vcpu);
  return wallNs - stallNs - faultNs + (now ? now.stallNs + now.faultNs : 0);
}
