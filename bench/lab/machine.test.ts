import { totalmem } from 'node:os';
import { describe, expect, it } from 'vitest';
import {
  assertMachine,
  type Device,
  type Iommu,
  type Machine,
  parseDevice,
  parseIommu,
  qemuArguments,
} from './machine.ts';

const MIB = 2 ** 20;
const MACHINE: Machine = { cpus: 2, memoryBytes: 1024 * MIB, iommu: 'virtio', device: 'e1000e' };

function argumentsOf(changes: Partial<Machine> = {}, shares = [{ tag: 'share0', path: '/work' }]): string[] {
  return qemuArguments({ ...MACHINE, ...changes }, '/k/bzImage', '/c/lab-init', shares);
}

/** Values of an option that may come several times. */
function values(args: readonly string[], option: string): string[] {
  return args.flatMap((argument, i) => (argument === option ? [args[i + 1] ?? ''] : []));
}

describe('the machine', () => {
  it('has the CPUs and the memory that were asked for, and no disk', () => {
    const args = argumentsOf({ cpus: 3, memoryBytes: 1536 * MIB });
    expect([values(args, '-smp'), values(args, '-m'), values(args, '-kernel')]).toEqual([
      ['3'],
      ['1536M'],
      ['/k/bzImage'],
    ]);
    expect(args).not.toContain('-drive');
    expect(values(args, '-accel')).toEqual(['tcg,thread=single']);
  });

  it.each<[Iommu, string | undefined, RegExp]>([
    ['virtio', 'virtio-iommu-pci', /allow_unsafe_interrupts=1/],
    ['vtd', 'intel-iommu,caching-mode=on,intremap=on', /intel_iommu=on/],
    ['amd', 'amd-iommu', /amd_iommu=on/],
    ['none', undefined, /intel_iommu=off amd_iommu=off/],
  ])('with IOMMU %s', (iommu, device, parameters) => {
    const args = argumentsOf({ iommu });
    expect(values(args, '-device').find((name) => name.includes('iommu'))).toBe(device);
    const [append = ''] = values(args, '-append');
    expect(append).toMatch(parameters);
    expect(append).toMatch(/^console=ttyS0 quiet panic=-1 .* ro .*init=\/c\/lab-init$/);
  });

  it.each<[Device, string | undefined]>([
    ['e1000e', 'e1000e,addr=10,romfile='],
    ['edu', 'edu,addr=10'],
    ['none', undefined],
  ])('with device %s at its place', (device, expected) => {
    const devices = values(argumentsOf({ device }), '-device');
    expect(devices.find((name) => name.includes('addr='))).toBe(expected);
  });

  it('writes to its shares alone, also those with a comma in their name', () => {
    const shares = [
      { tag: 'share0', path: '/a,b' },
      { tag: 'share1', path: '/c' },
    ];
    const exports = values(argumentsOf({}, shares), '-fsdev');
    expect(exports.map((text) => /path=(.*),security_model/.exec(text)?.[1])).toEqual(['/', '/a,,b', '/c']);
    expect(exports.map((text) => text.endsWith(',readonly=on'))).toEqual([true, false, false]);
    expect(values(argumentsOf({}, shares), '-device').filter((name) => name.includes('mount_tag'))).toHaveLength(3);
  });

  it('has its ports on the file descriptors after 0 to 2', () => {
    expect(values(argumentsOf(), '-chardev')).toEqual([
      'socket,id=control,fd=3',
      'socket,id=stdin,fd=4',
      'socket,id=stdout,fd=5',
      'socket,id=stderr,fd=6',
    ]);
  });
});

describe('a machine that cannot be', () => {
  it.each<[Partial<Machine>, string, RegExp]>([
    [{ cpus: 0 }, 'USAGE', /--cpus cannot be 0/],
    [{ cpus: 33 }, 'USAGE', /--cpus cannot be 33/],
    [{ memoryBytes: 511 * MIB }, 'USAGE', /--memory cannot be 511M/],
    [{ memoryBytes: 512 * MIB + 4096 }, 'USAGE', /--memory cannot be 524292K/],
    [{ memoryBytes: Math.ceil(totalmem() / MIB) * MIB + MIB }, 'UNAVAILABLE', /more than this host has/],
  ])('%j', (changes, code, message) => {
    expect(() => assertMachine({ ...MACHINE, ...changes })).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) as string }),
    );
  });

  it('the least and the most that can', () => {
    expect(() => assertMachine({ ...MACHINE, cpus: 1, memoryBytes: 512 * MIB })).not.toThrow();
    expect(() => assertMachine({ ...MACHINE, cpus: 32 })).not.toThrow();
  });

  it('names that nothing has', () => {
    expect(parseIommu('vtd')).toBe('vtd');
    expect(parseDevice('none')).toBe('none');
    expect(() => parseIommu('vt-d')).toThrow(/there is no IOMMU "vt-d"/);
    expect(() => parseDevice('toString')).toThrow(/there is no device "toString"/);
  });
});
