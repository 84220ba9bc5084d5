import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem, version } from 'node:os';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { HostFiles } from './host-files.ts';
import { readHostInfo } from './host-info.ts';
import { detectHypervisor } from './hypervisor.ts';
import { readKernelConfig } from './kernel-config.ts';
import { fixtureRoot, removeFixtureRoots, withHost, type Contents } from './testing/host-tree.ts';

afterAll(removeFixtureRoots);

describe('readHostInfo', () => {
  it.each([
    ['pvm-vm', '6.18.44-fc-v669', 2, 'kvm', false, null, null],
    ['snp-host', '6.12.57+deb13-amd64', 4, null, false, 'snp', 'amd'],
    ['tdx-host', '6.17.0-14-generic', 4, null, false, 'tdx', 'intel'],
    ['qemu-tcg', '6.12.57', 2, 'tcg', true, 'sw-protected', null],
    ['no-kvm', '5.15.0-164-generic', 8, null, false, null, null],
  ] as const)('%s', (name, kernel, logical, hypervisor, emulated, tee, iommu) => {
    const host = readHostInfo(fixtureRoot(name));
    expect(host.kernel.release).toBe(kernel);
    expect(host.cpu.logical).toBe(logical);
    expect(host).toMatchObject({ hypervisor, emulated, tee, iommu });
  });

  it('reads model, memory and configuration', () => {
    const { cpu, memoryBytes, kernel } = readHostInfo(fixtureRoot('snp-host'));
    expect(cpu.model).toBe('AMD EPYC 7763 64-Core Processor');
    expect(memoryBytes).toBe(527_998_456 * 1024);
    expect(kernel.version).toContain('Debian 6.12.57-1');
    expect(kernel.config).toMatchObject({ CONFIG_KVM: 'm', CONFIG_KVM_AMD_SEV: 'y', CONFIG_IOMMUFD: null });
  });

  it('says unknown, not nothing, where a host shows no files', () => {
    expect(withHost({}, readHostInfo)).toEqual({
      kernel: { release: 'unknown', version: 'unknown', config: {} },
      cpu: { model: 'unknown', logical: 0 },
      memoryBytes: 0,
      hypervisor: 'unknown',
      emulated: false,
      tee: null,
      iommu: null,
    });
  });

  it('agrees with what the system says of this machine in other ways', () => {
    const host = readHostInfo();
    expect(host.kernel.release).toBe(release());
    expect(host.kernel.release).toBe(execFileSync('uname', ['-r'], { encoding: 'utf8' }).trim());
    expect(host.kernel.version).toBe(version());
    expect(host.cpu.logical).toBe(Number(execFileSync('getconf', ['_NPROCESSORS_ONLN'], { encoding: 'utf8' })));
    expect(host.cpu.model).toBe(cpus()[0]?.model);
    expect(host.memoryBytes).toBe(totalmem());
  });
});

describe('readKernelConfig', () => {
  const read = (contents: Contents) => withHost(contents, (root) => readKernelConfig(new HostFiles(root), '6.9.1'));

  it('reads /proc/config.gz, and takes "is not set" and absence for off', () => {
    const text = 'CONFIG_KVM=y\nCONFIG_VFIO=m\n# CONFIG_IOMMUFD is not set\nCONFIG_KVM_AMD_SEVX=y\n';
    const { path, symbols } = read({ 'proc/config.gz': gzipSync(text) });
    expect(path).toBe('/proc/config.gz');
    expect(symbols).toMatchObject({
      CONFIG_KVM: 'y',
      CONFIG_VFIO: 'm',
      CONFIG_IOMMUFD: null,
      CONFIG_KVM_AMD_SEV: null,
    });
  });

  it('goes on to the next place if the first is cut off', () => {
    const gz = gzipSync('CONFIG_KVM=y\n'.repeat(100));
    const { path, symbols } = read({
      'proc/config.gz': gz.subarray(0, gz.length - 12),
      'lib/modules/6.9.1/config': 'CONFIG_KVM=m\n',
    });
    expect(path).toBe('/lib/modules/6.9.1/config');
    expect(symbols.CONFIG_KVM).toBe('m');
  });

  it('takes only the configuration of the running kernel', () => {
    expect(read({ 'boot/config-6.9.0': 'CONFIG_KVM=y\n' })).toEqual({ path: null, symbols: {} });
  });
});

describe('detectHypervisor', () => {
  const GUEST = 'model name\t: AMD EPYC Processor\nflags\t\t: fpu hypervisor\n';
  const clocks = (text: string) => ({
    'sys/devices/system/clocksource/clocksource0/available_clocksource': text,
  });
  const detect = (cpuinfo: string, contents: Contents = {}) =>
    withHost(contents, (root) => detectHypervisor(new HostFiles(root), cpuinfo));

  it.each([
    ['TCG by its CPU', 'model name\t: QEMU TCG CPU version 2.5+\nflags\t\t: fpu hypervisor\n', {}, 'tcg'],
    ['KVM by its clock', GUEST, clocks('tsc kvm-clock'), 'kvm'],
    ['Hyper-V by its clock', GUEST, clocks('hyperv_clocksource_tsc_page acpi_pm'), 'hyper-v'],
    ['Xen dom0 without the flag', 'flags\t\t: fpu\n', { 'sys/hypervisor/type': 'xen\n' }, 'xen'],
    ['EC2 by its vendor', GUEST, { 'sys/class/dmi/id/sys_vendor': 'Amazon EC2\n' }, 'kvm'],
    ['VMware by its product', GUEST, { 'sys/class/dmi/id/product_name': 'VMware7,1\n' }, 'vmware'],
    ['QEMU without a clock of KVM', GUEST, { ...clocks('tsc hpet'), 'sys/class/dmi/id/sys_vendor': 'QEMU\n' }, 'tcg'],
    ['QEMU with it', GUEST, { ...clocks('kvm-clock tsc'), 'sys/class/dmi/id/sys_vendor': 'QEMU\n' }, 'kvm'],
    ['one that does not say', GUEST, {}, 'unknown'],
    ['no flags at all (another architecture)', 'BogoMIPS\t: 50.00\n', {}, 'unknown'],
    ['QEMU of another architecture', '', { 'sys/class/dmi/id/sys_vendor': 'QEMU\n' }, 'unknown'],
  ] as const)('%s', (_, cpuinfo, contents, hypervisor) => {
    expect(detect(cpuinfo, contents)).toMatchObject({ hypervisor, emulated: hypervisor === 'tcg' });
  });

  it('believes CPUID before everything else', () => {
    const device = Buffer.alloc(16);
    device.write('TCGTCGTCGTCG', 4, 'latin1');
    const hidden = { ...clocks('kvm-clock'), 'dev/cpu/0/cpuid': device };
    withHost(hidden, (root) => {
      // The kernel's device gives the leaf at that position; a sparse file does the same.
      const files = new (class extends HostFiles {
        override readAt(path: string, position: number, length: number) {
          return super.readAt(path, position - 0x4000_0000, length);
        }
      })(root);
      expect(detectHypervisor(files, GUEST)).toEqual({
        hypervisor: 'tcg',
        emulated: true,
        evidence: 'CPUID 0x40000000: TCGTCGTCGTCG',
      });
    });
  });

  it('agrees with systemd-detect-virt where that is installed and both know the answer', (context) => {
    let said: string;
    try {
      said = execFileSync('systemd-detect-virt', ['--vm'], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }).trim();
    } catch (error) {
      const { stdout } = error as { stdout?: string };
      if (stdout === undefined || stdout === '') return context.skip('systemd-detect-virt is not installed');
      said = stdout.trim();
    }
    const names: Record<string, string | null> = {
      none: null,
      kvm: 'kvm',
      amazon: 'kvm',
      google: 'kvm',
      microsoft: 'hyper-v',
    };
    if (!(said in names)) return context.skip(`systemd-detect-virt says ${said}`);
    expect(readHostInfo().hypervisor).toBe(names[said]);
  });
});
