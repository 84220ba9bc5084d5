import type { RecordedTimes, VcpuStall } from './recorded.ts';

/**
 * ns that the boot would have taken: for each vCPU the recorded wall time, minus what it stood still in the recording, plus what the same requests
 * took in the replay; the boot ends with its slowest vCPU. Faults of its own accesses count as standing still: a strategy that discards more makes
 * the guest fault more, after the conversion.
 *
 * Modelled: a vCPU that waits less is taken to do nothing else differently.
 */
export function estimateBoot(recorded: RecordedTimes, replayed: readonly VcpuStall[]): number {
  const ends = recorded.vcpus.map((vcpu) => {
    const now = replayed.find((candidate) => candidate.vcpu === vcpu.vcpu);
    return recorded.wallNs - vcpu.stallNs - vcpu.faultNs + (now ? now.stallNs + now.faultNs : 0);
  });
  return Math.max(...ends);
}
