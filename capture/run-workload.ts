/** Runs a workload on this host's kernel and records it. */
import { totalmem } from 'node:os';
import { CvmtraceError, type ExecuteOptions, type Native } from '../native/index.ts';
import type { Backend } from './backends/backend.ts';
import type { ExecutionSummary } from './execute-requests.ts';
import { readHostInfo } from './host/host-info.ts';
import type { Plan } from './plan.ts';
import { recordRequests } from './record-requests.ts';
import { formatSize } from './size.ts';
import type { KnownMetadata, SlotRange } from './trace/metadata.ts';
import { completeParameters } from './workloads/parameter.ts';
import type { Workload, WorkloadSettings } from './workloads/workload.ts';

export interface WorkloadRun {
  readonly native: Native;
  readonly backend: Backend;
  readonly workload: Workload;
  readonly settings: WorkloadSettings;
  /** Makes the plan for this backend and these slots. */
  readonly plan: (backend: Backend, slots: readonly SlotRange[]) => Plan;
  /** As the trace's metadata names the plan. */
  readonly strategy: NonNullable<KnownMetadata['strategy']>;
  readonly pacing: ExecuteOptions;
  readonly out: string;
  readonly force: boolean;
  readonly command: readonly string[];
  readonly signal?: AbortSignal;
  readonly onProgress?: (requestsDone: number) => void;
}

/**
 * @throws CvmtraceError USAGE for settings that the workload refuses, UNAVAILABLE if the host has less memory than the guest, and what
 * `recordRequests` throws.
 */
export async function runWorkload(run: WorkloadRun): Promise<ExecutionSummary> {
  const { native, backend, workload, settings, strategy } = run;
  const requests = workload.generate(settings);
  // With the defaults, so that the trace says what ran when a later version has others.
  const parameters = completeParameters(`workload ${workload.name}`, workload.parameters, settings.parameters ?? {});
  if (settings.memoryBytes > totalmem()) {
    throw new CvmtraceError(
      'UNAVAILABLE',
      `a guest with ${formatSize(settings.memoryBytes)} of memory does not fit in this host's ${Math.floor(totalmem() / 2 ** 20)}M`,
      { hint: 'choose a smaller --memory: what matters to most patterns is the number of conversions' },
    );
  }
  const slots: readonly SlotRange[] = [{ gpa: 0, len: settings.memoryBytes, offset: 0 }];
  return recordRequests({
    ...run,
    slots,
    requests,
    plan: run.plan(backend, slots),
    metadata: {
      source: 'run',
      command: run.command,
      host: readHostInfo(),
      guest: { memoryBytes: settings.memoryBytes, vcpus: 1, vmType: backend.vmType, requests: 'generated', slots },
      workload: { name: workload.name, seed: settings.seed, parameters },
      strategy,
    },
    native,
  });
}
