import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { loadNative, type Native } from '../../native/index.ts';
import { BACKENDS } from '../backends/index.ts';
import { probe } from './probe.ts';

function addonOrNull(): Native | null {
  try {
    return loadNative();
  } catch {
    return null;
  }
}

const native = addonOrNull();
const report = probe(native);
const row = (area: string, step: string) =>
  report.rows.find((candidate) => candidate.area === area && candidate.step === step);

/** What opening a device says here, without the addon. */
function opens(path: string): true | string {
  try {
    closeSync(openSync(path, 'r+'));
    return true;
  } catch (error) {
    return (error as { code: string }).code;
  }
}

// Each fact of the probe against another way to it, on the machine that runs the tests, whatever it is.
describe('the probe of this machine', () => {
  it('agrees with /proc/meminfo on huge pages', (context) => {
    const meminfo = readFileSync('/proc/meminfo', 'utf8');
    const field = (name: string) => Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(meminfo)?.[1]);
    if (field('Hugepagesize') !== 2048) return context.skip('the default huge page is not of 2 MiB');
    const { found, works } = row('memory', 'hugepages-2m') ?? {};
    expect(found).toMatch(new RegExp(`^${field('HugePages_Total')} reserved, ${field('HugePages_Free')} free`));
    expect(works).toBe(field('HugePages_Free') > 0);
  });

  it('agrees with the shell on RLIMIT_MEMLOCK', () => {
    const kib = execFileSync('bash', ['-c', 'ulimit -S -l'], { encoding: 'utf8' }).trim();
    const { found = '' } = row('memory', 'memlock') ?? {};
    if (kib === 'unlimited') expect(found).toBe('unlimited');
    else expect(Number(/^(\d+)/.exec(found)?.[1]) * unit(found)).toBe(Number(kib) * 1024);
  });

  it('agrees with the file system on IOMMU and VFIO devices', () => {
    const entries = (path: string) => (existsSync(path) ? readdirSync(path) : []);
    const units = entries('/sys/class/iommu').filter((name) => /^(dmar|ivhd|smmu|virtio)/.test(name));
    expect(row('dma', 'iommu')?.works).toBe(units.length > 0);
    const devices =
      entries('/dev/vfio').filter((name) => /^\d+$/.test(name)).length + entries('/dev/vfio/devices').length;
    expect(row('dma', 'vfio-device')?.works).toBe(devices > 0);
    expect(row('dma', 'cdev')?.works).toBe(entries('/dev/vfio/devices').length > 0);
  });
});

describe.skipIf(native === null)('the probe of this machine, with the addon', () => {
  it.each([
    ['kvm', 'open-kvm', '/dev/kvm'],
    ['dma', 'vfio-container', '/dev/vfio/vfio'],
    ['dma', 'iommufd', '/dev/iommu'],
  ])('%s %s agrees with opening %s', (area, step, path) => {
    const opened = opens(path);
    const { works, errno } = row(area, step) ?? {};
    expect(works).toBe(opened === true);
    expect(errno).toBe(opened === true ? undefined : opened);
  });

  it.each(BACKENDS.map((kind) => kind.name))('says of backend %s what opening it says', async (name) => {
    if (!native) return;
    const verdict = report.backends.find((candidate) => candidate.name === name);
    const backend = await BACKENDS.find((kind) => kind.name === name)
      ?.open(native)
      .catch(() => undefined);
    expect(verdict?.works).toBe(backend !== undefined);
    expect(verdict?.standIn).toBe(backend?.standIn ?? verdict?.standIn);
    if (backend?.abilities.privateKind !== 'gmem' || ['snp', 'tdx'].includes(name)) return;
    expect(row(name, 'attributes')?.works).toBe(backend.abilities.attributes);
    expect(row(name, 'private-touch')?.works).toBe(backend.abilities.privateTouch);
  });

  it('has an explanation for everything that does not work', () => {
    for (const { works, found } of report.rows) {
      expect(works).not.toBeNull();
      expect(found).not.toBe('');
    }
  });

  it('leaves nothing open', () => {
    const open = () => readdirSync('/proc/self/fd').length;
    const before = open();
    for (let i = 0; i < 5; i++) probe(native);
    expect(open()).toBe(before);
  });
});

function unit(size: string): number {
  const units: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };
  return units[/^\d+([KMGT])/.exec(size)?.[1] ?? ''] ?? 1;
}
