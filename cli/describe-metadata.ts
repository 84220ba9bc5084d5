import type { TraceMetadata } from '../capture/trace/metadata.ts';
import { formatBytes } from './format-bytes.ts';
import { formatCount } from './format-count.ts';

/**
 * What has to stand beside every time that comes from a trace: that an emulator ran it, that the memory only stood in for a guest_memfd, that a
 * generator and not a guest asked. Empty for a recording of a guest on a real host.
 */
export function qualifiers(metadata: TraceMetadata): string[] {
  const words: string[] = [];
  if (metadata.backend?.standIn === true) words.push('stand-in');
  if (metadata.host?.emulated === true) words.push('emulated');
  if (metadata.source === 'generated' || metadata.guest.requests === 'generated') words.push('generated');
  return words;
}

/** The trace's metadata as labelled lines, in the order in which one asks. */
export function describeMetadata(metadata: TraceMetadata): readonly (readonly [string, string | undefined])[] {
  const { host, guest, workload, strategy, backend, replay, pacing } = metadata;
  return [
    ['source', `${SOURCES[metadata.source]} by ${metadata.tool.name} ${metadata.tool.version}`],
    ['command', metadata.command.length > 0 ? metadata.command.join(' ') : undefined],
    ['clock', metadata.clock.name],
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
    [
      'workload',
      workload && [`${workload.name}, seed ${workload.seed}`, ...assignments(workload.parameters)].join(', '),
    ],
    ['strategy', strategy && [strategy.name, ...assignments(strategy.axes)].join(', ')],
    [
      'backend',
      backend && `${backend.name}${backend.standIn ? ' (stand-in: the private side is no guest_memfd)' : ''}`,
    ],
    ['replay', replay && `of ${replay.of}, round ${replay.round}`],
    ['pacing', pacing && (pacing.mode === 'asap' ? 'as fast as possible' : `${pacing.mode}, factor ${pacing.factor}`)],
    ...metadata.leftOut.map(
      ({ step, errno, reason }) =>
        ['left out', `${step}: ${reason}${errno === undefined ? '' : ` (${errno})`}`] as const,
    ),
  ];
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

function assignments(values: Readonly<Record<string, number | string>>): string[] {
  return Object.entries(values).map(
    ([name, value]) => `${name}=${typeof value === 'number' ? formatCount(value) : value}`,
  );
}
