/** Runs a workload on this host's kernel and records it. */
import { totalmem } from 'node:os';
import { CvmtraceError, type ExecuteOptions, type Native } from '../native/index.ts';
import type { Backend } from './backends/backend.ts';
import type { ExecutionSummary } from './execute-requests.ts';
import { readHostInfo } from './host/host-info.ts';
import type { Plan } from './plan.ts';
import { recordRequests } from './record-requests.ts';
import { formatSize } from './size.ts';
import type { GuestRequest } from './request.ts';
import type { KnownMetadata, SlotRange } from './trace/metadata.ts';
import { MAX_SEED } from './workloads/random.ts';
import { onVcpu, STEP_BYTES } from './workloads/requests.ts';
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
  const slots = slotsOf(settings);
  const requests = streamsOf(run);
  // With the defaults, so that the trace says what ran when a later version has others.
  const parameters = completeParameters(`workload ${workload.name}`, workload.parameters, settings.parameters ?? {});
  if (settings.memoryBytes > totalmem()) {
    throw new CvmtraceError(
      'UNAVAILABLE',
      `a guest with ${formatSize(settings.memoryBytes)} of memory does not fit in this host's ${Math.floor(totalmem() / 2 ** 20)}M`,
      { hint: 'choose a smaller --memory: what matters to most patterns is the number of conversions' },
    );
  }
  return recordRequests({
    ...run,
    layout: { slots, slotsOnFault: workload.faults === true && backend.guest !== null },
    streams: requests.map((stream) => ({ plan: run.plan(backend, slots), requests: stream })),
    metadata: {
      source: 'run',
      command: run.command,
      host: readHostInfo(),
      guest: {
        memoryBytes: settings.memoryBytes,
        vcpus: requests.length,
        vmType: backend.vmType,
        requests: backend.guest ? 'guest' : 'generated',
        slots,
      },
      workload: { name: workload.name, seed: settings.seed, parameters },
      strategy,
    },
    native,
  });
}

/** Memory of a workload's guest: one slot from 0. */
export function slotsOf({ memoryBytes }: Pick<WorkloadSettings, 'memoryBytes'>): readonly SlotRange[] {
  return [{ gpa: 0, len: memoryBytes, offset: 0 }];
}

/** With a guest each vCPU does the workload in a part of memory of its own, with a seed of its own, all at the same time. */
function streamsOf({ workload, settings, backend }: WorkloadRun): Iterable<GuestRequest>[] {
  const vcpus = backend.guest?.vcpus ?? 1;
  if (vcpus === 1) return [workload.generate(settings)];
  const share = Math.floor(settings.memoryBytes / vcpus / STEP_BYTES) * STEP_BYTES;
  const required = Math.ceil(workload.requiredBytes(settings.parameters) / STEP_BYTES) * STEP_BYTES;
  if (share < required) {
    throw new CvmtraceError(
      'USAGE',
      `workload ${workload.name} with these parameters needs ${formatSize(required)} of guest memory for each vCPU, and ` +
        `${formatSize(settings.memoryBytes)} for ${vcpus} vCPUs is ${formatSize(share)}`,
      { hint: `give it at least --memory ${formatSize(required * vcpus)}, fewer --vcpus or smaller parameters` },
    );
  }
  return Array.from({ length: vcpus }, (_, vcpu) =>
    onVcpu(
      workload.generate({ ...settings, memoryBytes: share, seed: (settings.seed + vcpu) % MAX_SEED }),
      vcpu,
      vcpu * share,
    ),
  );
}
