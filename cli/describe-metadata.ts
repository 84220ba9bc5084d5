import type { ImportOrigin, TraceMetadata } from '../capture/trace/metadata.ts';
import { formatParameter } from '../capture/workloads/parameter.ts';
import { WORKLOADS } from '../capture/workloads/registry.ts';
import { formatBytes } from './format-bytes.ts';
import { formatCount } from './format-count.ts';

/** What of the metadata is described; reports carry this part of it. */
export type DescribedMetadata = Pick<TraceMetadata, 'source' | 'tool' | 'command' | 'host' | 'guest' | 'leftOut'> &
  Partial<
    Pick<TraceMetadata, 'clock' | 'import' | 'workload' | 'strategy' | 'backend' | 'replay' | 'pacing' | 'recording'>
  >;

/** The trace's metadata as labelled lines, in the order in which one asks. */
export function describeMetadata(metadata: DescribedMetadata): readonly (readonly [string, string | undefined])[] {
  const { host, guest, workload, strategy, backend, replay, pacing, recording } = metadata;
  return [
    ['source', `${SOURCES[metadata.source]} by ${metadata.tool.name} ${metadata.tool.version}`],
    ['log', metadata.import && describeOrigin(metadata.import)],
    ['command', metadata.command.length > 0 ? metadata.command.join(' ') : undefined],
    ['clock', metadata.clock?.name],
    [
      'host',
      host
        ? [
            `Linux ${host.kernel.release}`,
            `${host.cpu.model} (${host.cpu.logical} logical)`,
            formatBytes(host.memoryBytes),
            ...(host.emulated ? ['an emulated CPU: times are those of an emulator'] : []),
            ...(host.hypervisor === null ? [] : [`itself under ${host.hypervisor}`]),
            ...(host.tee === null ? [] : [`can run ${host.tee}`]),
            ...(host.iommu === null ? [] : [`IOMMU ${host.iommu}`]),
          ].join(', ')
        : 'unknown',
    ],
    [
      'guest',
      [
        guest.memoryBytes === null ? 'memory unknown' : formatBytes(guest.memoryBytes),
        guest.vcpus === null ? 'vCPUs unknown' : `${guest.vcpus} vCPU${guest.vcpus === 1 ? '' : 's'}`,
        guest.vmType === null ? 'no VM, or of unknown type' : `VM type ${guest.vmType}`,
        ...(guest.requests === null ? [] : [REQUESTS[guest.requests]]),
      ].join(', '),
    ],
    ['workload', workload && [`${workload.name}, seed ${workload.seed}`, ...parameters(workload)].join(', ')],
    ['strategy', strategy && [strategy.name, ...assignments(strategy.axes)].join(', ')],
    [
      'backend',
      backend && `${backend.name}${backend.standIn ? ' (stand-in: the private side is no guest_memfd)' : ''}`,
    ],
    ['replay', replay && `of ${replay.of}, round ${replay.round}`],
    ['pacing', pacing && (pacing.mode === 'asap' ? 'as fast as possible' : `${pacing.mode}, factor ${pacing.factor}`)],
    [
      'recording',
      recording &&
        `rings of ${formatBytes(recording.ringBytes)}; a thread whose ring is full ${recording.onFull === 'block' ? 'waits' : 'goes on, and what it loses is counted'}`,
    ],
    ...metadata.leftOut.map(
      ({ step, errno, reason }) =>
        ['left out', `${step}: ${reason}${errno === undefined ? '' : ` (${errno})`}`] as const,
    ),
  ];
}

function describeOrigin({ file, format, compressed, clock, clockOffsetNs, alignedTo }: ImportOrigin): string {
  return [
    `${file === '-' ? 'standard input' : file} as ${format}`,
    ...(compressed === null ? [] : [`compressed with ${compressed}`]),
    ...(clockOffsetNs === '0' ? [] : [`times moved by ${formatCount(BigInt(clockOffsetNs))} ns`]),
    ...(alignedTo === null ? [] : [`aligned to ${alignedTo}, its own clock is ${clock}`]),
  ].join(', ');
}

const SOURCES = {
  run: 'run',
  record: 'recorded',
  import: 'imported',
  replay: 'replayed',
  generated: 'generated',
} as const;

const REQUESTS = {
  guest: 'requests of a running guest',
  generated: 'requests of a generator',
  recorded: 'requests as recorded',
} as const;

/** With their units, where this version knows the workload. */
function parameters(workload: NonNullable<TraceMetadata['workload']>): string[] {
  const known = WORKLOADS.find(({ name }) => name === workload.name)?.parameters ?? [];
  const described = Object.entries(workload.parameters).map(([name, value]) => {
    const parameter = known.find((candidate) => candidate.name === name);
    return [name, parameter && typeof value === 'number' ? formatParameter(parameter, value) : value] as const;
  });
  return assignments(Object.fromEntries(described));
}

function assignments(values: Readonly<Record<string, number | string>>): string[] {
  return Object.entries(values).map(
    ([name, value]) => `${name}=${typeof value === 'number' ? formatCount(value) : value}`,
  );
}
