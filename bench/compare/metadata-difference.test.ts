import { describe, expect, it } from 'vitest';
import type { TraceMetadata } from '../../capture/trace/metadata.ts';
import { METADATA } from '../../capture/trace/testing/sample.ts';
import { diffMetadata } from './metadata-difference.ts';

const { host } = METADATA;
if (host === null) throw new Error('the sample has a host');

const withKernel = (
  release: string,
  config: Readonly<Record<string, string | null>> = host.kernel.config,
): TraceMetadata => ({
  ...METADATA,
  host: { ...host, kernel: { ...host.kernel, release, config } },
});

const brief = (a: readonly TraceMetadata[], b: readonly TraceMetadata[]): unknown =>
  diffMetadata(a, b).map((difference) => [difference.key, difference.a, difference.b]);

describe('differences of two sides', () => {
  it('has none for traces that were made alike, whatever their output is called', () => {
    const command = (out: readonly string[]) => ({ ...METADATA, command: ['cvmtrace', 'run', 'boot', ...out] });
    const rounds = [1, 2].map((round) => ({ ...METADATA, replay: { of: `/tmp/${round}/boot.arrow`, round } }));
    expect(diffMetadata([METADATA], [{ ...METADATA, clock: { ...METADATA.clock, baseNs: '1' } }])).toEqual([]);
    expect(diffMetadata([command(['-o', 'a.arrow'])], [command(['--out', 'b.arrow', '--force'])])).toEqual([]);
    expect(diffMetadata(rounds.slice(0, 1), rounds.slice(1))).toEqual([]);
  });

  it('names a kernel, and each symbol of its configuration', () => {
    const b = withKernel('6.19.0', { CONFIG_KVM: 'm', CONFIG_IOMMUFD: 'y', CONFIG_VFIO: null });
    expect(diffMetadata([METADATA], [b])).toEqual([
      { key: 'host.kernel.release', label: 'kernel release', unit: 'text', a: ['6.18.0'], b: ['6.19.0'], mixed: false },
      {
        key: 'host.kernel.config.CONFIG_IOMMUFD',
        label: 'CONFIG_IOMMUFD',
        unit: 'text',
        a: ['off'],
        b: ['y'],
        mixed: false,
      },
      {
        key: 'host.kernel.config.CONFIG_VFIO',
        label: 'CONFIG_VFIO',
        unit: 'text',
        a: [null],
        b: ['off'],
        mixed: false,
      },
    ]);
  });

  it('does not take an unknown configuration for one with everything off', () => {
    expect(brief([METADATA], [withKernel('6.18.0', {})])).toEqual([['kernelConfig', ['known'], [null]]]);
  });

  it('says of a log without a host that it has none, and no more', () => {
    expect(brief([METADATA], [{ ...METADATA, host: null }])).toEqual([
      ['host', ['Linux 6.18.0, test'], [null]],
      ['kernelConfig', ['known'], [null]],
    ]);
  });

  it("takes a recording's own command, which is the VMM's", () => {
    const recorded = (...command: readonly string[]): TraceMetadata => ({ ...METADATA, source: 'record', command });
    expect(
      brief(
        [recorded('cvmtrace', 'record', '-o', 'a.arrow', '--', 'qemu', '-m', '1G')],
        [recorded('cvmtrace', 'record', '-o', 'b.arrow', '--', 'qemu', '-m', '2G')],
      ),
    ).toEqual([['command', ['qemu -m 1G'], ['qemu -m 2G']]]);
  });

  it('compares workload, strategy, interface and what was left out, parameter by parameter', () => {
    const a: TraceMetadata = {
      ...METADATA,
      workload: { name: 'boot', seed: 1, parameters: { transactions: 5000, swiotlb: 2 ** 26 } },
      strategy: { name: 'qemu-10.1', axes: { dma: '4k', discard: 'request' } },
      dma: { interface: 'type1', device: '0000:01:00.0', addressing: 'gpa' },
      pacing: { mode: 'asap', factor: 1 },
    };
    const b: TraceMetadata = {
      ...a,
      workload: { name: 'boot', seed: 2, parameters: { transactions: 5000, swiotlb: 2 ** 27 } },
      strategy: { name: 'qemu-10.1', axes: { dma: '2m', discard: 'request' } },
      dma: { interface: 'iommufd', device: '0000:01:00.0', addressing: 'gpa' },
      pacing: { mode: 'relative', factor: 2 },
      leftOut: [],
    };
    expect(brief([a], [b])).toEqual([
      ['workload.seed', [1], [2]],
      ['workload.parameters.swiotlb', ['64M'], ['128M']],
      ['strategy.axes.dma', ['4k'], ['2m']],
      ['dma.interface', ['type1'], ['iommufd']],
      ['pacing', ['asap'], ['relative, factor 2']],
      ['leftOut.attributes', ['not there'], [null]],
    ]);
  });

  it('says where the traces of one side do not agree, even if the other has the same mixture', () => {
    const mixture = [withKernel('6.18.0'), withKernel('6.19.0'), withKernel('6.18.0')];
    expect(diffMetadata(mixture, mixture)).toEqual([
      expect.objectContaining({
        key: 'host.kernel.release',
        a: ['6.18.0', '6.19.0'],
        b: ['6.18.0', '6.19.0'],
        mixed: true,
      }),
    ]);
  });
});
