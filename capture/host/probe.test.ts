import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, describe, expect, it } from 'vitest';
import { PACKAGE_ROOT } from '../../native/package-root.ts';
import { probe, type ProbeReport, type ProbeRow } from './probe.ts';
import {
  fixtureHost,
  fixtureRoot,
  removeFixtureRoots,
  withHost,
  type Contents,
  type FixtureName,
} from './testing/host-tree.ts';

const validate = new Ajv2020({ allowUnionTypes: true }).compile(
  JSON.parse(readFileSync(join(PACKAGE_ROOT, 'capture', 'host', 'probe.schema.json'), 'utf8')) as object,
);

const { errno: ERRNO } = constants;

/** An addon on which each key was tried with this outcome: a value, or the name of an errno. What is not named was not tried. */
function addon(outcomes: Readonly<Record<string, number | keyof typeof ERRNO>>): Parameters<typeof probe>[0] {
  const attempts = Object.entries(outcomes).map(([key, outcome]) => [
    key,
    typeof outcome === 'number' ? { errno: 0, call: key, value: outcome } : { errno: ERRNO[outcome], call: key },
  ]);
  return {
    probeHost: () => ({ attempts: Object.fromEntries(attempts) as never }),
    errnoName: (number) => Object.entries(ERRNO).find(([, value]) => value === number)?.[0] ?? String(number),
  };
}

const probed = (host: FixtureName | Contents, native: Parameters<typeof probe>[0] = null): ProbeReport =>
  typeof host === 'string' ? probe(native, fixtureRoot(host)) : withHost(host, (root) => probe(native, root));

afterAll(removeFixtureRoots);

function row(report: ProbeReport, area: string, step: string): ProbeRow {
  const found = report.rows.find((candidate) => candidate.area === area && candidate.step === step);
  if (!found) throw new Error(`no row ${area} ${step}`);
  return found;
}

/** Outcomes of a kernel that can all of guest-memfd on a default VM. */
const WORKING = {
  'kvm.open': 0,
  'kvm.vm.0': 0,
  'gmem.create.0': 0,
  'gmem.create.3': 0,
  'gmem.slot': 0,
  'gmem.allocate': 0,
  'gmem.punch_hole': 0,
  'gmem.touch': 0,
  'gmem.cachestat': 512,
  'kvm.vm.0.set_memory_attributes': 0,
  'kvm.cap.pre_fault_memory': 1,
  'kvm.cap.exit_hypercall': 0x1000,
  'memory.memfd': 0,
  'memory.cachestat': 1,
} as const;

const HOSTS = ['pvm-vm', 'snp-host', 'tdx-host', 'qemu-tcg', 'no-kvm'] as const;

describe('the report', () => {
  it.each(HOSTS)('of %s is as probe.schema.json says, and the same after a way through JSON', (name) => {
    for (const native of [null, addon({}), addon(WORKING), addon({ 'kvm.open': 'EACCES', 'vfio.open': 'ENOENT' })]) {
      const report = probed(name, native);
      const document: unknown = JSON.parse(JSON.stringify({ schema: 'cvmtrace.probe/1', ...report, warnings: [] }));
      expect(validate(document), JSON.stringify(validate.errors)).toBe(true);
      expect(document).toMatchObject(report);
    }
  });

  it('has the same steps on every host, each once', () => {
    const steps = HOSTS.map((name) => probed(name).rows.map(({ area, step }) => `${area} ${step}`));
    for (const list of steps) expect(list).toEqual(steps[0]);
    expect(new Set(steps[0]).size).toBe(steps[0]?.length);
  });

  it('says what would change each step that does not work, unless something named before it has to work first', () => {
    for (const name of HOSTS) {
      for (const { works, found, remedy, step } of probed(name, addon({ 'kvm.open': 'ENOENT' })).rows) {
        if (works === false && !found.startsWith('not tried') && !found.startsWith('this kernel or CPU')) {
          expect(remedy, `${name} ${step}: ${found}`).toBeDefined();
        }
      }
    }
  });
});

describe('backends', () => {
  it('are unknown without the addon', () => {
    const { backends, rows } = probed('pvm-vm');
    // But for the TEEs, of which the CPU says that it has none.
    expect(backends.map(({ name, works }) => [name, works])).toEqual([
      ['sw-protected', null],
      ['guest-memfd', null],
      ['two-memfd', null],
      ['snp', false],
      ['tdx', false],
    ]);
    const tried = ['kvm', 'sw-protected', 'guest-memfd', 'two-memfd'];
    for (const { area, works, found } of rows.filter(({ area }) => tried.includes(area))) {
      expect([area, works]).toEqual([area, null]);
      expect(found).toBe('not tried: the native addon is not built');
    }
  });

  it('work if what they need works, whatever else is missing', () => {
    const outcomes = { ...WORKING, 'kvm.vm.0.set_memory_attributes': 'ENOTTY', 'kvm.vm.1': 'EINVAL' } as const;
    const { backends } = probed('pvm-vm', addon(outcomes));
    expect(backends.slice(1, 3)).toEqual([
      { name: 'guest-memfd', standIn: false, works: true, missing: ['attributes'] },
      { name: 'two-memfd', standIn: true, works: true, missing: [] },
    ]);
    expect(backends[0]).toMatchObject({ name: 'sw-protected', works: false });
  });

  it('do not work if a step that they need does not', () => {
    const { backends } = probed('pvm-vm', addon({ ...WORKING, 'gmem.punch_hole': 'EOPNOTSUPP' }));
    expect(backends[1]).toMatchObject({ works: false, missing: ['discard'] });
  });

  it('with private memory have a VM of their own', () => {
    const outcomes = Object.fromEntries(
      Object.entries(WORKING).map(([key, value]) => [
        key.replace('kvm.vm.0', 'kvm.vm.1').replace(/^gmem/, 'kvm.vm.1.gmem'),
        value,
      ]),
    );
    const report = probed('qemu-tcg', addon({ ...outcomes, 'kvm.vm.1.gmem.touch': 'EFAULT' }));
    expect(report.backends[0]).toMatchObject({ works: true, missing: ['private-touch'] });
    expect(report.backends[1]).toMatchObject({ name: 'guest-memfd', works: false });
    expect(row(report, 'sw-protected', 'create-vm').found).toContain('sw-protected');
  });

  it('without private memory say what turns it on', () => {
    const refused = (host: Contents) => row(probed(host, addon({ 'kvm.vm.1': 'EINVAL' })), 'sw-protected', 'create-vm');
    const release = { 'proc/sys/kernel/osrelease': '6.9.1' };
    const result = refused({ ...release, 'boot/config-6.9.1': '', 'sys/module/kvm/parameters/tdp_mmu': 'N\n' });
    expect(result).toMatchObject({ works: false, errno: 'EINVAL' });
    expect(result.found).toMatch(/CONFIG_KVM_SW_PROTECTED_VM is off; kvm.tdp_mmu is N/);
    expect(result.remedy).toMatch(/CONFIG_KVM_SW_PROTECTED_VM, and use a host whose KVM has EPT or NPT/);
    expect(refused({ 'proc/sys/kernel/osrelease': '6.1.0' }).found).toMatch(/6\.1\.0 is older than 6\.8/);
  });

  it('of a TEE work where KVM makes its VM', () => {
    const works = (host: FixtureName, key: string, name: string) =>
      probed(host, addon({ [key]: 0 })).backends.find((backend) => backend.name === name);
    expect(works('snp-host', 'kvm.vm.4', 'snp')).toEqual({ name: 'snp', standIn: false, works: true, missing: [] });
    expect(works('snp-host', 'kvm.vm.4', 'tdx')).toMatchObject({ works: false, missing: ['tdx'] });
    expect(works('tdx-host', 'kvm.vm.5', 'tdx')).toMatchObject({ works: true });
  });
});

describe('/dev/kvm', () => {
  const open = (outcome: keyof typeof ERRNO, contents: Contents = {}) =>
    row(probed(contents, addon({ 'kvm.open': outcome })), 'kvm', 'open-kvm');
  const cpu = (flags: string) => ({ 'proc/cpuinfo': `processor\t: 0\nflags\t\t: ${flags}\n` });

  it.each([
    ['ENOENT', cpu('fpu vmx'), /KVM is not loaded/, /modprobe kvm_intel/],
    ['ENODEV', cpu('fpu svm'), /KVM is not loaded/, /modprobe kvm_amd/],
    ['ENOENT', cpu('fpu'), /neither vmx nor svm/, /firmware set-up/],
    ['ENOENT', cpu('fpu hypervisor'), /neither vmx nor svm/, /nested virtualisation/],
    [
      'ENOENT',
      { 'proc/sys/kernel/osrelease': '6.9.1', 'boot/config-6.9.1': 'CONFIG_VFIO=y\n' },
      /CONFIG_KVM is off/,
      /CONFIG_KVM/,
    ],
    [
      'ENOENT',
      { ...cpu('vmx'), 'sys/module/kvm/parameters/tdp_mmu': 'Y\n' },
      /although KVM is loaded/,
      /--device \/dev\/kvm/,
    ],
    ['EPERM', {}, /container or cgroup/, /--device \/dev\/kvm/],
    ['EACCES', { 'dev/kvm': { mode: 0o600 } }, /for root alone \(mode 0600\)/, /chmod 660 \/dev\/kvm/],
  ] as const)('%s', (errno, contents, found, remedy) => {
    const result = open(errno, contents);
    expect(result).toMatchObject({ works: false, errno });
    expect(result.found).toMatch(found);
    expect(result.remedy).toMatch(remedy);
  });

  it('EACCES with a group names that group', () => {
    const gid = process.getgid?.() ?? 0;
    const result = open('EACCES', {
      'dev/kvm': { mode: 0o660 },
      'etc/group': `other:x:99999:\nvirt:x:${gid}:someone\n`,
    });
    expect(result.found).toMatch(/for root and group virt \(mode 0660\)/);
    expect(result.remedy).toMatch(/usermod -aG virt USER/);
  });

  it('that does not open leaves the steps after it untried, without repeating the remedy', () => {
    const report = probed('pvm-vm', addon({ 'kvm.open': 'EACCES' }));
    const after = row(report, 'guest-memfd', 'create-vm');
    expect(after).toEqual({
      area: 'guest-memfd',
      step: 'create-vm',
      works: false,
      found: 'not tried: it needs /dev/kvm',
    });
  });
});

describe('what KVM has', () => {
  const old = { 'proc/sys/kernel/osrelease': '6.1.0-18-amd64\n' };

  it.each([
    ['guest-memfd', 'gmem.create.0', 'ENOTTY', /Linux 6\.1\.0-18-amd64 is older than 6\.18/],
    ['memory-slot', 'gmem.slot', 'ENOTTY', /older than 6\.8/],
    ['attributes', 'kvm.vm.0.set_memory_attributes', 'ENOTTY', /older than 6\.8/],
    ['resident-bytes', 'gmem.cachestat', 'ENOSYS', /older than 6\.5/],
  ] as const)('%s: an older kernel is the reason', (step, key, errno, found) => {
    const result = row(probed(old, addon({ 'kvm.open': 0, 'kvm.vm.0': 0, [key]: errno })), 'guest-memfd', step);
    expect(result).toMatchObject({ works: false, errno });
    expect(result.found).toMatch(found);
    expect(result.remedy).toMatch(/^boot Linux 6\.\d+ or later$/);
  });

  it('guest_memfd is refused to a default VM up to 6.17', () => {
    const outcome = addon({ 'kvm.open': 0, 'kvm.vm.0': 0, 'gmem.create.0': 'EINVAL' });
    const result = row(probed('snp-host', outcome), 'guest-memfd', 'guest-memfd');
    expect(result.found).toMatch(/gives a default VM no guest_memfd/);
    expect(result.remedy).toMatch(/6\.18 or later, or use the sw-protected backend/);
  });

  it('attributes: EINVAL is not the same as ENOTTY', () => {
    const at = (errno: 'ENOTTY' | 'EINVAL') =>
      row(probed('pvm-vm', addon({ ...WORKING, 'kvm.vm.0.set_memory_attributes': errno })), 'guest-memfd', 'attributes')
        .found;
    expect(at('ENOTTY')).toMatch(/ENOTTY; CONFIG_KVM_GENERIC_MEMORY_ATTRIBUTES is off/);
    expect(at('EINVAL')).toMatch(/a default VM has no private memory/);
  });

  it('a capability of 0 is a no', () => {
    const result = row(probed('pvm-vm', addon({ ...WORKING, 'kvm.cap.exit_hypercall': 0 })), 'kvm', 'map-gpa-exit');
    expect(result.works).toBe(false);
  });

  it('an errno that nothing explains is given as it is', () => {
    const outcome = addon({ ...WORKING, 'gmem.allocate': 'ENOSPC' });
    expect(row(probed({}, outcome), 'guest-memfd', 'allocate')).toMatchObject({
      works: false,
      errno: 'ENOSPC',
      found: 'gmem.allocate: ENOSPC',
    });
  });
});

describe('TEEs', () => {
  it('SNP and TDX work where KVM makes such a VM', () => {
    expect(row(probed('snp-host', addon({ 'kvm.vm.4': 0 })), 'tee', 'snp').works).toBe(true);
    expect(row(probed('tdx-host', addon({ 'kvm.vm.5': 0 })), 'tee', 'tdx').works).toBe(true);
  });

  it('are unknown, with what the module says, where nothing was tried', () => {
    expect(row(probed('snp-host'), 'tee', 'snp')).toMatchObject({
      works: null,
      found: 'kvm_amd.sev_snp is Y; not tried: the native addon is not built',
    });
  });

  const changed = (name: FixtureName, changes: Contents): Contents => ({ ...fixtureHost(name), ...changes });
  it.each([
    ['snp', 'tdx-host', /the CPU \(GenuineIntel\) has no SEV-SNP/, /AMD EPYC/],
    ['tdx', 'snp-host', /the CPU \(AuthenticAMD\) has no TDX/, /Intel Xeon/],
    ['tdx', 'pvm-vm', /a guest itself \(kvm\)/, /bare-metal/],
    ['tdx', 'no-kvm', /Linux 5\.15\.0-164-generic is older than 6\.16/, /boot Linux 6\.16/],
    [
      'snp',
      changed('snp-host', { 'sys/module/kvm_amd/parameters/sev_snp': 'N\n' }),
      /kvm_amd\.sev_snp is N/,
      /kvm_amd\.sev_snp=1/,
    ],
    [
      'tdx',
      changed('tdx-host', {
        'sys/module/kvm_intel/parameters/tdx': 'N\n',
        'proc/cpuinfo': 'processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: vmx\n',
      }),
      /no flag tdx_host_platform/,
      /firmware/,
    ],
  ] as const)('%s is off for the nearest reason', (step, contents, found, remedy) => {
    const result = row(probed(contents), 'tee', step);
    expect(result.works).toBe(false);
    expect(result.found).toMatch(found);
    expect(result.remedy).toMatch(remedy);
  });
});

describe('DMA', () => {
  it('reads IOMMU, devices and the entry limit', () => {
    const report = probed('snp-host');
    expect(row(report, 'dma', 'iommu')).toMatchObject({ works: true, found: 'ivhd0, ivhd1, ivhd2, ivhd3; 3 groups' });
    expect(row(report, 'dma', 'vfio-device')).toMatchObject({ works: true, found: 'groups 17' });
    expect(row(report, 'dma', 'dma-entry-limit')).toMatchObject({
      works: true,
      found: '65535 mappings in a container: 255M if each is of 4 KiB',
    });
    expect(row(probed('tdx-host'), 'dma', 'dma-entry-limit').found).toContain(': 16G if');
  });

  it.each([
    ['ENOENT', 'pvm-vm', 'iommufd', 'iommufd.open', /CONFIG_IOMMUFD is off/],
    ['ENOENT', 'tdx-host', 'iommufd', 'iommufd.open', /iommufd is not loaded/],
    ['ENOENT', 'no-kvm', 'iommufd', 'iommufd.open', /older than 6\.2/],
    ['ENOENT', 'tdx-host', 'vfio-container', 'vfio.open', /vfio is not loaded/],
    ['ENOTTY', 'tdx-host', 'mock', 'iommufd.test', /CONFIG_IOMMUFD_TEST is off/],
    ['ENOTTY', 'snp-host', 'map-file', 'iommufd.ioas_map_file', /Linux 6\.12\S* is older than 6\.13/],
  ] as const)('%s on %s: %s', (errno, name, step, key, found) => {
    const result = row(probed(name, addon({ [key]: errno })), 'dma', step);
    expect(result).toMatchObject({ works: false, errno });
    expect(result.found).toMatch(found);
    expect(result.remedy).toBeDefined();
  });
});

describe('the mock of iommufd', () => {
  const has = { 'iommufd.open': 0, 'iommufd.test': 0 } as const;
  const units = (...names: string[]): Contents =>
    Object.fromEntries(names.map((name) => [`sys/class/iommu/${name}/device`, '']));
  const mock = (contents: Contents, outcomes: Parameters<typeof addon>[0]) =>
    row(probed(contents, addon(outcomes)), 'dma', 'mock');

  it('works if a page was seen mapped, not if the kernel merely has the command', () => {
    expect(mock({}, { ...has, 'iommufd.mock': 0 })).toMatchObject({ works: true });
    expect(mock({}, has)).toMatchObject({ works: false, found: 'not tried: it needs an address space of iommufd' });
    expect(mock({}, {})).toMatchObject({ works: false, found: 'not tried: it needs /dev/iommu' });
  });

  it('is refused where another IOMMU is in use', () => {
    const outcomes = { ...has, 'iommufd.mock': 'EINVAL' } as const;
    const refused = mock(units('dmar0', 'iommufd_selftest_iommu.0'), outcomes);
    expect(refused).toMatchObject({ works: false, errno: 'EINVAL' });
    expect(refused.found).toMatch(/another IOMMU is in use \(dmar0\)$/);
    expect(refused.remedy).toMatch(/intel_iommu=off/);
    expect(mock(units('iommufd_selftest_iommu.0'), outcomes).found).toBe('iommufd.mock: EINVAL');
  });

  it('is no IOMMU of the host', () => {
    const report = probed(units('iommufd_selftest_iommu.0'));
    expect(row(report, 'dma', 'iommu').works).toBe(false);
    expect(report.host.iommu).toBeNull();
  });
});

describe('a VFIO device by its own file', () => {
  const cdev = (contents: Contents) => row(probed(contents), 'dma', 'cdev');
  const release = (text: string) => ({ 'proc/sys/kernel/osrelease': text });

  it('is there when one is bound', () => {
    expect(cdev({ 'dev/vfio/devices/vfio0': '', 'dev/vfio/devices/vfio3': '' })).toEqual({
      area: 'dma',
      step: 'cdev',
      works: true,
      found: '/dev/vfio/devices/vfio0, /dev/vfio/devices/vfio3',
    });
  });

  it('is not for the nearest reason', () => {
    expect(cdev(release('6.1.0')).found).toMatch(/older than 6\.6/);
    expect(cdev({ ...release('6.9.1'), 'boot/config-6.9.1': 'CONFIG_VFIO=y\n' }).found).toMatch(
      /CONFIG_VFIO_DEVICE_CDEV is off/,
    );
    expect(cdev(release('6.9.1')).remedy).toMatch(/vfio-pci/);
  });
});

describe('memory', () => {
  it('counts huge pages, and tells reserved from free ones', () => {
    const report = probed('snp-host');
    expect(row(report, 'memory', 'hugepages-2m')).toMatchObject({ works: true, found: '1024 reserved, 512 free (1G)' });
    expect(row(report, 'memory', 'hugepages-1g')).toMatchObject({ works: false, found: '4 reserved, 0 free' });
    expect(row(probed('no-kvm'), 'memory', 'hugepages-1g').found).toMatch(/no huge pages of 1 GiB/);
  });

  it.each([
    ['tdx-host', true, 'unlimited'],
    ['pvm-vm', true, '8M, and CAP_IPC_LOCK, which type1 lets past it'],
    ['no-kvm', false, '64M: pinning more than that for DMA gives ENOMEM'],
  ] as const)('memlock of %s', (name, works, found) => {
    expect(row(probed(name), 'memory', 'memlock')).toMatchObject({ works, found });
  });

  it('reads the mode of transparent huge pages', () => {
    expect(row(probed('snp-host'), 'memory', 'thp')).toMatchObject({ works: true, found: 'madvise' });
    expect(row(probed('no-kvm'), 'memory', 'thp')).toMatchObject({ works: false, found: 'never' });
    // Each file takes another word for it.
    expect(row(probed('no-kvm'), 'memory', 'thp').remedy).toMatch(/echo madvise > .*\/enabled$/);
    expect(row(probed('no-kvm'), 'memory', 'thp-shmem').remedy).toMatch(/echo advise > .*\/shmem_enabled$/);
  });
});
