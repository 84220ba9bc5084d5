/** In what the traces of two sides differ before any of their rows is looked at: host, kernel, guest, what was asked and how it was answered. */
import type { HostInfo, TraceMetadata } from '../../capture/trace/metadata.ts';
import { formatParameter } from '../../capture/workloads/parameter.ts';
import { WORKLOADS } from '../../capture/workloads/registry.ts';

/** Null: unknown, not set, or none. */
export type Fact = string | number | null;

export interface MetadataDifference {
  /** Path in the metadata, "host.kernel.release"; of a step that was left out "leftOut.STEP"; "kernelConfig" where not all traces know one. */
  readonly key: string;
  /** For people: "kernel release". */
  readonly label: string;
  readonly unit: 'text' | 'bytes' | 'count';
  /** Distinct values of the side's traces, in their order. */
  readonly a: readonly Fact[];
  readonly b: readonly Fact[];
  /** The traces of one side do not agree with each other. */
  readonly mixed: boolean;
}

interface NamedFact {
  readonly key: string;
  readonly label: string;
  readonly unit: MetadataDifference['unit'];
  readonly value: Fact;
}

/**
 * Everything in which the sides, or the traces of one side, differ. Names of files, times of day and rounds of a replay differ by nature and are
 * left out. Of what a trace lacks as a whole (an imported log has no host) only that is said.
 * @returns empty if the traces were made in the same way on the same host
 */
export function diffMetadata(a: readonly TraceMetadata[], b: readonly TraceMetadata[]): MetadataDifference[] {
  const inAll = new Set(SECTIONS.filter((section) => [...a, ...b].every((metadata) => sectionOf(metadata, section))));
  const sides = [a, b].map((traces) =>
    traces.map((metadata) => new Map(facts(metadata, inAll).map((f) => [f.key, f]))),
  );
  const named = new Map(sides.flat().flatMap((trace) => [...trace]));
  return [...named.values()].flatMap(({ key, label, unit }) => {
    const [ofA = [], ofB = []] = sides.map((traces) => [
      ...new Set(traces.map((trace) => trace.get(key)?.value ?? null)),
    ]);
    const mixed = ofA.length > 1 || ofB.length > 1;
    return mixed || ofA[0] !== ofB[0] ? [{ key, label, unit, a: ofA, b: ofB, mixed }] : [];
  });
}

/** Parts of the metadata that a trace has or lacks as a whole. */
const SECTIONS = ['host', 'kernelConfig', 'workload', 'strategy', 'backend', 'dma', 'import', 'recording'] as const;
type Section = (typeof SECTIONS)[number];

/** What stands for a section where not all traces have it; undefined if this one lacks it. */
function sectionOf(
  { host, workload, strategy, backend, dma, recording, ...rest }: TraceMetadata,
  section: Section,
): string | undefined {
  switch (section) {
    case 'host':
      return host ? `Linux ${host.kernel.release}, ${host.cpu.model}${host.emulated ? ', emulated' : ''}` : undefined;
    case 'kernelConfig':
      return host && Object.keys(host.kernel.config).length > 0 ? 'known' : undefined;
    case 'workload':
      return workload?.name;
    case 'strategy':
      return strategy?.name;
    case 'backend':
      return backend?.name;
    case 'dma':
      return dma?.interface;
    case 'import':
      return rest.import?.format;
    case 'recording':
      return recording && 'recorded';
  }
}

function facts(metadata: TraceMetadata, inAll: ReadonlySet<Section>): NamedFact[] {
  const { host, guest, workload, strategy, backend, dma, pacing, replay, recording, leftOut, source, tool } = metadata;
  const within = <T>(section: Section, value: T | null | undefined, of: (value: T) => NamedFact[]): NamedFact[] =>
    inAll.has(section) && value
      ? of(value)
      : [text(section, section === 'kernelConfig' ? 'kernel config' : section, sectionOf(metadata, section))];
  return [
    text('source', 'source', source),
    text('tool', 'tool', `${tool.name} ${tool.version}`),
    ...within('host', host, hostFacts),
    ...within('kernelConfig', host?.kernel.config, (config) =>
      Object.entries(config).map(([symbol, value]) => text(`host.kernel.config.${symbol}`, symbol, value ?? 'off')),
    ),
    text('guest.vmType', 'VM type', guest.vmType),
    bytes('guest.memoryBytes', 'guest memory', guest.memoryBytes),
    count('guest.vcpus', 'vCPUs', guest.vcpus),
    text('guest.requests', 'requests', guest.requests),
    text('command', 'command', commandOf(metadata)),
    ...within('workload', workload, workloadFacts),
    ...within('strategy', strategy, ({ name, axes }) => [
      text('strategy.name', 'strategy', name),
      ...Object.entries(axes).map(([axis, value]) => text(`strategy.axes.${axis}`, `strategy ${axis}`, value)),
    ]),
    ...within('backend', backend, ({ name, standIn }) => [
      text('backend.name', 'backend', name),
      text('backend.standIn', 'private side', standIn ? 'a stand-in' : 'guest_memfd'),
    ]),
    ...within('dma', dma, (mapped) => [
      text('dma.interface', 'DMA interface', mapped.interface),
      text('dma.device', 'DMA device', mapped.device),
      text('dma.addressing', 'DMA addressing', mapped.addressing),
    ]),
    text('pacing', 'pacing', pacing && (pacing.mode === 'asap' ? 'asap' : `${pacing.mode}, factor ${pacing.factor}`)),
    text('replay.of', 'replay of', replay?.of.replace(/.*\//, '')),
    ...within('import', metadata.import, ({ format, clock }) => [
      text('import.format', 'imported from', format),
      text('import.clock', 'clock of the log', clock),
    ]),
    ...within('recording', recording, ({ ringBytes, onFull }) => [
      bytes('recording.ringBytes', 'recording ring', ringBytes),
      text('recording.onFull', 'on a full ring', onFull),
    ]),
    ...leftOut.map(({ step, reason }) => text(`leftOut.${step}`, `left out: ${step}`, reason)),
  ];
}

function hostFacts({ kernel, cpu, memoryBytes, hypervisor, emulated, tee, iommu }: HostInfo): NamedFact[] {
  return [
    text('host.kernel.release', 'kernel release', kernel.release),
    text('host.kernel.version', 'kernel build', kernel.version),
    text('host.cpu.model', 'CPU', cpu.model),
    count('host.cpu.logical', 'CPUs', cpu.logical),
    bytes('host.memoryBytes', 'host memory', memoryBytes),
    text('host.hypervisor', 'hypervisor', hypervisor),
    text('host.emulated', 'CPU is', emulated ? 'emulated' : 'real'),
    text('host.tee', 'TEE', tee),
    text('host.iommu', 'IOMMU', iommu),
  ];
}

function workloadFacts({ name, seed, parameters }: NonNullable<TraceMetadata['workload']>): NamedFact[] {
  const known = WORKLOADS.find((candidate) => candidate.name === name)?.parameters ?? [];
  return [
    text('workload.name', 'workload', name),
    count('workload.seed', 'workload seed', seed),
    ...Object.entries(parameters).map(([parameterName, value]) => {
      const parameter = known.find((candidate) => candidate.name === parameterName);
      const shown = parameter && typeof value === 'number' ? formatParameter(parameter, value) : String(value);
      return text(`workload.parameters.${parameterName}`, `workload ${parameterName}`, shown);
    }),
  ];
}

/** A recording's own command, which is the VMM's; of the others ours, without where its output went. */
function commandOf({ command, source }: TraceMetadata): string | null {
  const recorded = source === 'record' ? command.indexOf('--') + 1 : 0;
  const shown = recorded > 0 ? command.slice(recorded) : withoutOutput(command);
  return shown.length === 0 ? null : shown.join(' ');
}

function withoutOutput(command: readonly string[]): string[] {
  return command.filter(
    (word, index) =>
      !/^(-o|--out|--force|--out=.*)$/.test(word) && !/^(-o|--out)$/.test(index > 0 ? (command[index - 1] ?? '') : ''),
  );
}

function text(key: string, label: string, value: string | null | undefined): NamedFact {
  return { key, label, unit: 'text', value: value ?? null };
}

function bytes(key: string, label: string, value: number | null | undefined): NamedFact {
  return { key, label, unit: 'bytes', value: value ?? null };
}

function count(key: string, label: string, value: number | null | undefined): NamedFact {
  return { key, label, unit: 'count', value: value ?? null };
}
